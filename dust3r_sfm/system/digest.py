"""What is in a file, as a check sum: files count by their content, never by where they lie or how long they are.

A file whose size, times and number are those of the last time is not read again.
"""

import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dust3r_sfm.system.files import write_json

DIGESTS = "digests.json"
"""File of an output folder that remembers the check sums of what went into it."""

_SETTLED_SECONDS = 2.0
"""A file that changed later than this before it was read may change again without another time. Chosen by hand: file
systems keep times to a hundredth of a second, or to two seconds."""

_known: dict[str, tuple[list[int], str]] = {}


def digest(path: Path) -> str:
    """Check sum of a file's content (sha256, hexadecimal)."""
    key, state = str(path.absolute()), _state(path)
    if key in _known and _known[key][0] == state:
        return _known[key][1]
    is_settled = time.time() - max(state[1:3]) / 1e9 > _SETTLED_SECONDS
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if is_settled:
        _known[key] = state, found
    return found


def contents(path: Path) -> str:
    """Check sum of a file, or of all files of a folder with their names."""
    if not path.is_dir():
        return digest(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return digest_of([[file.relative_to(path).as_posix(), digest(file)] for file in files])


def contents_of(options: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Options whose values are paths of files that are there, with the content of these in their place."""
    there = {name: Path(options[name]) for name in names if options[name] is not None}
    return options | {name: contents(path) for name, path in there.items() if path.exists()}


def digest_of(value: Any) -> str:
    """Check sum of a JSON value."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def recall(folder: Path) -> None:
    """Take over the check sums that an output folder remembers; a damaged file says nothing."""
    try:
        found = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        for key, (state, value) in found.items():
            _known[str(key)] = [int(number) for number in state], str(value)
    except (OSError, ValueError, TypeError, AttributeError):
        return


def remember(folder: Path) -> None:
    """Leave in an output folder the check sums that this process knows."""
    write_json(folder / DIGESTS, dict(sorted(_known.items())))


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
