"""What was computed of the map's images, kept on disk: one HDF5 file each, whole or absent."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dust3r_sfm.system.digest import digest
from dust3r_sfm.system.hdf5 import read_arrays, write_arrays
from dust3r_sfm.types import View


class ImageCache:
    """Arrays of photographs by name; those of a photograph that has changed since are not found.

    Args:
        folder: where the files are kept; None keeps nothing.
        maker: what made the arrays (names, versions, sizes); those of another maker are not found.
    """

    def __init__(self, folder: Path | None, maker: str) -> None:
        self._folder = folder
        self._maker = maker

    def read(self, view: View) -> dict[str, np.ndarray] | None:
        """The arrays of a photograph, or None."""
        if self._folder is None:
            return None
        return read_arrays(self._file(view), self._mark(view))

    def write(self, view: View, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the arrays of a photograph.

        Raises:
            OutputError: the disk is full, or the folder cannot be written.
        """
        if self._folder is not None:
            write_arrays(self._file(view), self._mark(view), arrays)

    def _mark(self, view: View) -> str:
        return f"{self._maker} {view.network_size} {digest(view.path)}"

    def _file(self, view: View) -> Path:
        assert self._folder is not None
        return self._folder / f"{hashlib.sha256(f'{self._maker} {view.name}'.encode()).hexdigest()[:32]}.h5"
