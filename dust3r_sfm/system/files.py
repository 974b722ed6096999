"""Files that are whole or absent: everything is written under a temporary name and renamed."""

import contextlib
import errno
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from dust3r_sfm.errors import OutputError

_TEMPORARY = re.compile(r"\..+\.\d+(-[0-9a-f]{8})?\.tmp[-.\w]*")
"""Names that `atomic_path` gives, and what SQLite and COLMAP make of them."""

_PROBE_BYTES = 1 << 20
"""More than any buffer that a cut-off file can have left free."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well, remove it otherwise.

    The block may make a file or a folder there. A folder replaces an existing folder.

    Raises:
        OutputError: when the disk is full or the folder cannot be written.
    """
    # Not only this process's number: machines that share a folder, and containers most of all, have equal ones.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_dir() and path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    except OSError as error:
        raise as_output_error(error, path) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left under temporary names, those that libraries put beside them included.

    Only for whoever has the folder to itself.
    """
    for path in folder.rglob(".*.tmp*"):
        if _TEMPORARY.fullmatch(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def noticing_a_full_disk(folder: Path) -> Iterator[None]:
    """Check, after the block and after an error in it, that something can still be written to the folder.

    Raises:
        OSError: when nothing can, naming the folder; `atomic_path` and the command line make it a sentence.
    """
    try:
        yield
    finally:
        probe = folder / ".space.tmp"
        try:
            probe.write_bytes(bytes(_PROBE_BYTES))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from error
        finally:
            probe.unlink(missing_ok=True)


def set_default_mode(path: Path) -> None:
    """Give a file the permissions that any new file beside it has; some libraries write for the owner alone."""
    probe = path.with_name(f"{path.name}.mode")
    try:
        probe.touch(exist_ok=False)
        path.chmod(stat.S_IMODE(probe.stat().st_mode))
    finally:
        probe.unlink(missing_ok=True)


def as_output_error(error: OSError, path: Path | None = None) -> Exception:
    """Turn a full disk or a folder that cannot be into a sentence; give any other `OSError` back unchanged."""
    message = str(error)
    path = path or Path(error.filename or "the output folder")
    if (
        error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        or "No space left" in message
        or "errno = 28" in message
    ):
        return OutputError(
            f"The disk is full: {path} could not be written; free some space and run the same command again.", path=path
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        inner = next((folder for folder in path.parents if folder.is_file()), None)
        if inner is not None:
            return OutputError(
                f"{path} cannot be written because {inner} is a file; choose another output folder.", path=path
            )
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return OutputError(
            f"{path} cannot be written; choose another output folder or change its permissions.", path=path
        )
    return error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, with stable key order and a final newline."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
