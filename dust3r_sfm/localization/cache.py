"""What was computed of the map's images, kept on disk: one HDF5 file each, whole or absent."""

import hashlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np

from dust3r_sfm.system.files import atomic_path
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
        try:
            with h5py.File(self._file(view), "r") as h5:
                if h5.attrs["made_by"] != self._mark(view):
                    return None
                return {name: dataset[()] for name, dataset in h5.items()}
        except (OSError, KeyError, RuntimeError):  # not there, or damaged
            return None

    def write(self, view: View, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the arrays of a photograph.

        Raises:
            OutputError: the disk is full, or the folder cannot be written.
        """
        if self._folder is None:
            return
        content = BytesIO()
        with h5py.File(content, "w") as h5:  # in memory first: HDF5 does not survive a disk that fills up under it
            h5.attrs["made_by"] = self._mark(view)
            for name, array in arrays.items():
                h5.create_dataset(name, data=array)
        with atomic_path(self._file(view)) as temporary:
            temporary.write_bytes(content.getbuffer())

    def _mark(self, view: View) -> str:
        state = view.path.stat()
        return f"{self._maker} {view.network_size} {state.st_size} {state.st_mtime_ns}"

    def _file(self, view: View) -> Path:
        assert self._folder is not None
        return self._folder / f"{hashlib.sha256(f'{self._maker} {view.name}'.encode()).hexdigest()[:32]}.h5"
