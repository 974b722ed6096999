"""HDF5 files: opened so that whatever they lack becomes a sentence, written so that they are whole or absent.

An entry is looked at before it is read: of the kind, type and shape that are wanted, no larger than the file can hold,
and in this file: HDF5's links and external storage lead to any other file of the machine.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.system.hdf5_writer import new_file

_MARK = "made_by"

_MOST_PACKED = 1100
"""How many times smaller than its content a packed entry can be: deflate's limit is 1032 (zlib's documentation)."""
_UNSTORED_BYTES = 64 << 20
"""What an entry may hold without having been stored, by its fill value alone, as failed pairs do. Chosen by hand."""


class _Unusable(ValueError):
    """An entry that is not what its name says, in words for a sentence."""


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
    except DAMAGED as error:
        detail = f" ({error})" if isinstance(error, _Unusable) else ""
        raise InputError(f"{path} is damaged or no {what}{detail}; {remedy}.", path=path) from error


DAMAGED = (OSError, LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError, MemoryError)
"""What h5py and NumPy raise over damaged bytes and entries of another kind."""


def entry(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | None:
    """An entry of a group, by its path; None where there is none.

    Raises:
        ValueError: something on the way is a link, or no group.
    """
    found = group
    for part in (part for part in name.split("/") if part not in ("", ".")):
        if not isinstance(found, h5py.Group):
            raise _Unusable(f"{found.name} is no group")
        link = found.get(part, getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise _Unusable(f"{name} is a link")
        found = found[part]
    return found


def require_group(group: h5py.Group, name: str) -> h5py.Group:
    """A group in a group, by its path.

    Raises:
        KeyError: there is no such entry.
        ValueError: it is something else.
    """
    found = entry(group, name)
    if found is None:
        raise KeyError(name)
    if not isinstance(found, h5py.Group):
        raise _Unusable(f"{name} is no group")
    return found


def read_numbers(
    group: h5py.Group, name: str, shape: tuple[int | None, ...], *, finite: bool = True, kinds: str = "fiub"
) -> np.ndarray:
    """Read an array of numbers or truth values.

    Args:
        group: that holds it.
        name: its path in the group.
        shape: of the array; None is any length.
        finite: refuse NaN and infinities.
        kinds: NumPy's letters of the types that are taken.

    Raises:
        KeyError: there is no such entry.
        ValueError: it is something else.
    """
    dataset = _dataset(group, name, kinds, shape)
    values: np.ndarray = dataset[()]
    if finite and values.dtype.kind == "f" and not _is_finite(values):
        raise _Unusable(f"{name} holds numbers that are not finite")
    return values


def read_scale(group: h5py.Group, name: str) -> float:
    """Read an attribute that is a finite number above 0; see `read_numbers`."""
    value = group.attrs[name]
    if np.ndim(value) != 0 or not 0 < float(value) < float("inf"):
        raise _Unusable(f"{name} of {group.name} is no number above 0")
    return float(value)


def _is_finite(values: np.ndarray) -> bool:
    if values.dtype == np.float16:  # ten times faster than `isfinite`: an exponent of ones alone
        return bool(((values.view(np.uint16) & 0x7C00) != 0x7C00).all())
    return bool(np.isfinite(values).all())


def read_texts(group: h5py.Group, name: str, count: int | None = None) -> tuple[str, ...]:
    """Read a list of texts, `count` of them where that is known; see `read_numbers`."""
    texts = _dataset(group, name, "OS", (count,)).asstr()[()]
    return tuple(str(text) for text in texts)


def read_text(group: h5py.Group, name: str) -> str:
    """Read a single text; see `read_numbers`."""
    return str(_dataset(group, name, "OS", ()).asstr()[()])


def _dataset(group: h5py.Group, name: str, kinds: str, shape: tuple[int | None, ...]) -> h5py.Dataset:
    dataset = entry(group, name)
    if dataset is None:
        raise KeyError(name)
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in kinds or dataset.shape is None:
        raise _Unusable(f"{name} is of another kind")
    if dataset.external or dataset.is_virtual:
        raise _Unusable(f"{name} is kept in another file")
    fits = len(dataset.shape) == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, dataset.shape, strict=True)
    )
    if not fits:
        raise _Unusable(f"{name} has the shape {dataset.shape}")
    stored = min(dataset.id.get_storage_size(), dataset.file.id.get_filesize())
    if dataset.nbytes > _UNSTORED_BYTES + _MOST_PACKED * stored:
        raise _Unusable(f"{name} is larger than the file can hold")
    return dataset


def write_arrays(path: Path, mark: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, with a mark of what they were made from.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    with new_file(path) as h5:
        h5.attrs[_MARK] = mark
        for name, array in arrays.items():
            h5.create_dataset(name, data=array)


def read_arrays(path: Path, mark: str) -> dict[str, np.ndarray] | None:
    """Read what `write_arrays` wrote; None where it is not there, damaged, or has another mark."""
    if not path.is_file():
        return None
    try:
        with h5py.File(path, "r") as h5:
            if h5.attrs[_MARK] != mark:
                return None
            return {name: read_numbers(h5, name, (None,) * h5[name].ndim, finite=False) for name in h5}
    except DAMAGED:
        return None
