"""The one place where HDF5 files are written: whole or absent, and safe from a disk that fills up.

HDF5 does not survive an error of the disk under an open file: it ends in a segmentation fault. So it writes through a
file that keeps the first error for itself and fails only when HDF5 has closed.
"""

import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

import h5py

from dust3r_sfm.system.files import atomic_path
from dust3r_sfm.system.signals import deferred

Item = TypeVar("Item")

_LEAST_SECONDS = 20.0
"""Work that a kill can lose. Chosen by hand."""

_TIMES_WRITING = 10.0
"""A file is not written again before so many times what it took the last time, so that growing stays cheap. Chosen by
hand."""


@contextmanager
def new_file(path: Path) -> Iterator[h5py.File]:
    """Yield an empty HDF5 file that takes the place of `path` when the block ends well.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    with atomic_path(path) as temporary, _patient(temporary, "w") as h5:
        yield h5


@contextmanager
def grown_file(path: Path) -> Iterator[h5py.File]:
    """The same with what the file at `path` holds already; a copy is written, so that a kill leaves the old file."""
    with atomic_path(path) as temporary:
        if path.is_file():
            shutil.copyfile(path, temporary)
        with _patient(temporary, "a") as h5:
            yield h5


class GrowingFile(Generic[Item]):
    """An HDF5 file that takes one item after another, now and then put on disk; use it in a `with` block.

    When the block ends, with an error too, all that was added is on disk.

    Args:
        path: the file; what it holds stays in it.
        write: puts an item into the open file.
    """

    def __init__(self, path: Path, write: Callable[[h5py.File, Item], None]) -> None:
        self._path, self._write = path, write
        self._waiting: list[Item] = []
        self._due = time.monotonic() + _LEAST_SECONDS

    def add(self, item: Item) -> None:
        """Take one more item."""
        self._waiting.append(item)
        if time.monotonic() > self._due:
            self._flush()

    def __enter__(self) -> "GrowingFile[Item]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()

    def _flush(self) -> None:
        started = time.monotonic()
        if self._waiting:
            with grown_file(self._path) as h5:
                for item in self._waiting:
                    self._write(h5, item)
        self._waiting = []
        now = time.monotonic()
        self._due = now + max(_LEAST_SECONDS, _TIMES_WRITING * (now - started))


def memory_file(content: BytesIO) -> h5py.File:
    """An empty HDF5 file in memory, whole in `content` once it is closed."""
    return h5py.File(content, "w")


@contextmanager
def _patient(path: Path, mode: str) -> Iterator[h5py.File]:
    with path.open("r+b" if path.exists() else "w+b", buffering=0) as raw:
        file = _Patient(raw)
        try:
            with deferred(), h5py.File(file, mode) as h5:
                yield h5
        finally:
            if file.error is not None:  # before whatever HDF5 made of what it could not read again
                raise file.error


class _Patient(io.RawIOBase):
    """A file that never fails while it is written: after the first error it drops what comes."""

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of the data, or note why not."""
        rest = memoryview(data).cast("B")
        length = len(rest)
        try:
            while self.error is None and len(rest):
                rest = rest[self._raw.write(rest) :]
        except OSError as error:
            self.error = error
        return length

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend, or note why not."""
        try:
            if self.error is None:
                self._raw.truncate(size)
        except OSError as error:
            self.error = error
        return size if size is not None else self.tell()

    def readinto(self, buffer: Any) -> int:
        """Read; nothing is left unset where the file ends early."""
        view = memoryview(buffer).cast("B")
        count = self._raw.readinto(view) or 0
        if count < len(view) and self.error is not None:
            view[count:] = bytes(len(view) - count)
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See `io`."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """See `io`."""
        return self._raw.tell()

    def flush(self) -> None:
        """Nothing waits in memory."""
