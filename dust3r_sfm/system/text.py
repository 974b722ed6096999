"""Text as people and other programs leave it: UTF-8 or UTF-16, with a byte order mark or without, any line ends."""

import codecs
import json
from pathlib import Path
from typing import Any

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Encoding of a file by its first bytes (Unicode 15, section 23.8)."""


def read_text(path: Path) -> str:
    """Read a text; its lines end with a line feed, whatever they end with in the file.

    Raises:
        OSError: there is no such file, or it is a pipe or a device, which might never end.
        ValueError: it is no text.
    """
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is no regular file")
    content = path.read_bytes()
    text = content.decode(_encoding(content) or "utf-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def has_mark(path: Path) -> bool:
    """Whether a file begins with a byte order mark."""
    with path.open("rb") as file:
        return _encoding(file.read(max(map(len, _MARKS)))) is not None


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        OSError: see `read_text`.
        ValueError: it is no text, no JSON, or nested more deeply than any that is written on purpose.
    """
    try:
        return json.loads(read_text(path))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _encoding(content: bytes) -> str | None:
    return next((encoding for mark, encoding in _MARKS.items() if content.startswith(mark)), None)
