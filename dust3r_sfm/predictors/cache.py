"""Encoded photographs: those used last in memory; where memory cannot hold the set, all of them on disk as well.

On disk each photograph is an HDF5 file of its own in `predictions.h5.parts/features/`, whole or absent, so that a
killed run goes on with what it had encoded. The folder goes when the run ends.
"""

import hashlib
import shutil
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from dust3r_sfm.predictors.predictor import PairPredictor, StoresFeatures
from dust3r_sfm.system.hdf5 import read_arrays, write_arrays
from dust3r_sfm.types import Edge, ImageSet, View

PHOTOGRAPHS_PER_CALL = 32
"""Encoded at once before they are put on disk: what a kill can lose. Chosen by hand."""

_OVERHEAD_BYTES = 8192
"""What a file takes besides its arrays. Chosen by hand."""


class FeatureCache:
    """The features of a run; use it in a `with` block, which removes the files when it ends well.

    Args:
        predictor: encodes; what it makes waits on disk if it `StoresFeatures`, and is encoded again if not.
        images: the photographs of the run.
        used: indices of those that the whole run uses, however little of it is left.
        folder: where the features wait.
        fingerprint: files that were made with another one are not used.
        max_encoded: photographs kept in memory.
    """

    def __init__(
        self,
        predictor: PairPredictor,
        images: ImageSet,
        used: Sequence[int],
        folder: Path,
        fingerprint: str,
        max_encoded: int,
    ) -> None:
        self._predictor = predictor
        self._images = images
        self._used = used
        self._folder = folder
        self._fingerprint = fingerprint
        self._max_encoded = max_encoded
        # Not by what is left to do: a resumed run must not see other roundings than an unbroken one.
        self._disk = predictor if len(used) > max_encoded and isinstance(predictor, StoresFeatures) else None
        self._encoded: OrderedDict[int, Any] = OrderedDict()

    def bytes_on_disk(self) -> int:
        """How much the features that are not there yet will take at most; 0 where memory holds the set."""
        if self._disk is None:
            return 0
        views = [self._images.views[image] for image in self._used]
        return sum(self._disk.feature_bytes(view) + _OVERHEAD_BYTES for view in views if not self._file(view).exists())

    def features(self, edges: Sequence[Edge]) -> Mapping[int, Any]:
        """The features of all photographs of `edges` (and of others); the ones not used for longest make room.

        Raises:
            OutputError: when the disk is full.
        """
        needed = sorted({image for edge in edges for image in edge})
        for image in needed:
            if image in self._encoded:
                self._encoded.move_to_end(image)
        new = [image for image in needed if image not in self._encoded]
        while self._encoded and len(self._encoded) + len(new) > max(self._max_encoded, len(needed)):
            self._encoded.popitem(last=False)
        if self._disk is None:
            self._encode(new)
            return self._encoded
        missing = [image for image in new if not self._read(image, self._disk)]
        for start in range(0, len(missing), PHOTOGRAPHS_PER_CALL):
            some = missing[start : start + PHOTOGRAPHS_PER_CALL]
            self._encode(some)
            for image in some:
                self._write(image, self._disk)
        return self._encoded

    def __enter__(self) -> "FeatureCache":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._encoded.clear()
        if error is None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _encode(self, images: Sequence[int]) -> None:
        if images:
            features = self._predictor.encode([self._images.views[image] for image in images])
            self._encoded.update(zip(images, features, strict=True))

    def _write(self, image: int, disk: StoresFeatures) -> None:
        view = self._images.views[image]
        arrays = disk.pack(self._encoded[image])
        write_arrays(self._file(view), self._fingerprint, arrays)
        # What memory keeps is what the disk gives back, so that results do not depend on what was kept.
        self._encoded[image] = disk.unpack(arrays, view)

    def _read(self, image: int, disk: StoresFeatures) -> bool:
        view = self._images.views[image]
        arrays = read_arrays(self._file(view), self._fingerprint)
        if arrays is None:
            return False
        self._encoded[image] = disk.unpack(arrays, view)
        return True

    def _file(self, view: View) -> Path:
        return self._folder / f"{hashlib.sha256(view.name.encode()).hexdigest()[:32]}.h5"
