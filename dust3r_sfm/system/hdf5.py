"""HDF5 files: opened so that whatever they lack becomes a sentence, written so that they are whole or absent."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.system.files import atomic_path

_MARK = "made_by"


@contextmanager
def open_or_say(path: Path, what: str, remedy: str) -> Iterator[h5py.File]:
    """Open an HDF5 file to read it; what it lacks becomes a sentence, while it is read, too.

    Args:
        path: the file.
        what: of what kind it should be, such as "scene file".
        remedy: what to do, such as "align the photographs again".

    Raises:
        InputError: there is no such file, it is damaged, or it lacks what the block asks it for.
    """
    if not path.is_file():
        raise InputError(f"There is no {what} {path}; check the path, or {remedy}.", path=path)
    with or_say(path, what, remedy), h5py.File(path, "r") as h5:
        yield h5


@contextmanager
def or_say(path: Path, what: str, remedy: str) -> Iterator[None]:
    """The same for a block that reads from a file that is open already."""
    try:
        yield
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or no {what}; {remedy}.", path=path) from error


def write_arrays(path: Path, mark: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, with a mark of what they were made from.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    content = BytesIO()
    with h5py.File(content, "w") as h5:  # in memory first: HDF5 does not survive a disk that fills up under it
        h5.attrs[_MARK] = mark
        for name, array in arrays.items():
            h5.create_dataset(name, data=array)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def read_arrays(path: Path, mark: str) -> dict[str, np.ndarray] | None:
    """Read what `write_arrays` wrote; None where it is not there, damaged, or has another mark."""
    try:
        with h5py.File(path, "r") as h5:
            if h5.attrs[_MARK] != mark:
                return None
            return {name: dataset[()] for name, dataset in h5.items()}
    except (OSError, KeyError, RuntimeError):
        return None
