"""One run at a time for each output: a lock that the system lets go of when its process ends, however it ends.

Where a file system knows no such locks (some of NFS) or the system has none (Windows), there is none.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dust3r_sfm.errors import OutputError
from dust3r_sfm.system.files import as_output_error, remove_leftovers

fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None

_held: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Keep other processes from an output while the block lasts; in the block it may be locked again.

    What killed runs left in a folder under temporary names is removed, unless it is shared.

    Args:
        path: a folder, made where it is not there; or a file that is there.
        shared: beside others that share it, as shards do.

    Raises:
        OutputError: another process is at work there, or the folder cannot be made.
    """
    real = path.resolve()
    if fcntl is None or real in _held.get():
        yield
        return
    is_new = not path.exists()
    try:
        if not path.is_file():
            path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise as_output_error(error, path) from error
    try:
        if _lock(descriptor, path, shared) and not shared and path.is_dir():
            remove_leftovers(path)
        before = _held.set(_held.get() | {real})
        try:
            yield
        finally:
            _held.reset(before)
    finally:
        os.close(descriptor)
        if is_new:  # of a run that failed before it wrote anything
            with contextlib.suppress(OSError):
                path.rmdir()


def _lock(descriptor: int, path: Path, shared: bool) -> bool:
    """Whether there are locks here."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise OutputError(
                f"Another run is at work on {path}; wait until it has ended, or choose another output folder.",
                path=path,
            ) from error
        return False
    return True
