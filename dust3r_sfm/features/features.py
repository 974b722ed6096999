"""Local features of photographs at full resolution, kept in hloc's HDF5 format.

A group per image name holds `keypoints` (k × 2, the centre of the first pixel at 0, as hloc has it), `descriptors`
(d × k), `scores` and `image_size`; whatever extractor wrote it can be read.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, UInt8

from dust3r_sfm.errors import InputError
from dust3r_sfm.types import View

_HLOC_ORIGIN = 0.5
"""hloc counts pixels from the centre of the first one, COLMAP from its corner."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """Local features of one photograph.

    Attributes:
        xy: positions in raw original pixels, COLMAP origin (k, 2).
        descriptors: as the file holds them; SIFT's are bytes (k, d).
        scores: larger for what other photographs will show too; of SIFT the scale in raw pixels (k,).
    """

    xy: Float64[np.ndarray, "k 2"]
    descriptors: UInt8[np.ndarray, "k d"] | Float[np.ndarray, "k d"]
    scores: Float32[np.ndarray, " k"]

    def of(self, rows: Int64[np.ndarray, " r"]) -> "Features":
        """Some of the keypoints."""
        return Features(xy=self.xy[rows], descriptors=self.descriptors[rows], scores=self.scores[rows])

    def unit_descriptors(self) -> Float32[np.ndarray, "k d"]:
        """Descriptors of length 1: their inner products are cosines."""
        values = self.descriptors.astype(np.float32)
        unit: Float32[np.ndarray, "k d"] = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-20)
        return unit


def read_features(path: Path, views: Sequence[View], with_descriptors: bool = True) -> list[Features]:
    """Read features in hloc's format, of any extractor; images that the file lacks have none.

    Args:
        path: the HDF5 file.
        views: the photographs.
        with_descriptors: whether descriptors are needed; without, they are of length 0.

    Raises:
        InputError: the file cannot be read, or lacks keypoints or descriptors of an image that it lists.
    """
    wanted = ("keypoints", "descriptors") if with_descriptors else ("keypoints",)
    xy, descriptors, scores = [], [], []
    with _reading(path) as file:
        for view in views:
            group = file.get(view.name, {"keypoints": _NOTHING, "descriptors": _NOTHING.T})
            missing = [name for name in wanted if name not in group]
            if missing:
                raise InputError(f"{path} has no {missing[0]} for {view.name}; extract the features again.")
            xy.append(group["keypoints"][()][:, :2].astype(np.float64) + _HLOC_ORIGIN)
            values = group["descriptors"][()].T if with_descriptors else np.zeros((len(xy[-1]), 0))
            descriptors.append(np.ascontiguousarray(values))
            scores.append(np.asarray(group["scores"] if "scores" in group else np.ones(len(xy[-1])), np.float32))
    width = max((values.shape[1] for values in descriptors), default=0)
    return [
        Features(xy=places, descriptors=values if len(values) else np.zeros((0, width)), scores=telling)
        for places, values, telling in zip(xy, descriptors, scores, strict=True)
    ]


_NOTHING = np.zeros((0, 2))


def append_features(path: Path, view: View, features: Features) -> None:
    """Write the features of one more photograph into a file, made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "a") as file:
        if view.name in file:
            del file[view.name]
        group = file.create_group(view.name)
        group["keypoints"] = (features.xy - _HLOC_ORIGIN).astype(np.float32)
        group["descriptors"] = features.descriptors.T
        group["scores"] = features.scores
        group["image_size"] = np.array(view.size)


def names_in(path: Path) -> set[str]:
    """Names of the images that a feature file holds; a file that a killed run damaged is removed."""
    if not path.is_file():
        return set()
    names: set[str] = set()
    try:
        with h5py.File(path, "r") as file:

            def visit(name: str, item: Any) -> None:
                if isinstance(item, h5py.Group) and "image_size" in item:  # the last that is written
                    names.add(name)

            file.visititems(visit)
    except OSError:
        path.unlink()
        return set()
    return names


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path} is no HDF5 file of local features; extract them again.") from error
