"""Local features of photographs at full resolution, kept in hloc's HDF5 format.

Whatever extractor wrote the file, it can be read; see `dust3r_sfm.hloc`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64, UInt8

from dust3r_sfm.errors import InputError
from dust3r_sfm.hloc import read_keypoints, write_keypoints
from dust3r_sfm.system.digest import digest
from dust3r_sfm.system.hdf5 import DAMAGED, entry, open_or_say, read_numbers, require_group
from dust3r_sfm.system.hdf5_writer import GrowingFile
from dust3r_sfm.types import View

_MADE_OF = "made_of"
"""Attribute of a photograph's features: see `made_of`; earlier versions and other programs write none."""


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


def usable_rows(xy: Float64[np.ndarray, "k 2"], mask: Bool[np.ndarray, "h w"] | None) -> Int64[np.ndarray, " r"]:
    """Keypoints where a picture may be used.

    Args:
        xy: positions in the mask's pixels; beside the mask its border speaks.
        mask: True where the picture may be used; None: everywhere.
    """
    if mask is None:
        return np.arange(len(xy))
    column, row = np.floor(xy).astype(np.int64).T
    return np.flatnonzero(mask[np.clip(row, 0, mask.shape[0] - 1), np.clip(column, 0, mask.shape[1] - 1)])


def read_features(path: Path, views: Sequence[View], with_descriptors: bool = True) -> list[Features]:
    """Read features in hloc's format, of any extractor; images that the file lacks have none.

    Args:
        path: the HDF5 file.
        views: the photographs.
        with_descriptors: whether descriptors are needed; without, they are of length 0.

    Raises:
        InputError: the file cannot be read, or lacks keypoints or descriptors of an image that it lists.
    """
    with open_or_say(path, "HDF5 file of local features", "extract them again") as h5:
        read = [_read_one(h5, view.name, path, with_descriptors) for view in views]
    width = max((features.descriptors.shape[1] for features in read), default=0)
    return [features if len(features.xy) else replace(features, descriptors=np.zeros((0, width))) for features in read]


def _read_one(h5: h5py.File, name: str, path: Path, with_descriptors: bool) -> Features:
    """The features of one image; none where the file lacks it."""
    if entry(h5, name) is None:
        return Features(xy=np.zeros((0, 2)), descriptors=np.zeros((0, 0)), scores=np.zeros(0, np.float32))
    group, xy = require_group(h5, name), read_keypoints(h5, name, path)
    if with_descriptors and entry(group, "descriptors") is None:
        raise InputError(f"{path} has no descriptors of {name}; extract the features again.", path=path)
    descriptors = read_numbers(group, "descriptors", (None, len(xy))).T if with_descriptors else np.zeros((len(xy), 0))
    has_scores = entry(group, "scores") is not None
    scores = read_numbers(group, "scores", (len(xy),)) if has_scores else np.ones(len(xy))
    scores = scores.astype(np.float32)
    return Features(xy=xy, descriptors=np.ascontiguousarray(descriptors), scores=scores)


def growing_features(path: Path) -> GrowingFile[tuple[View, Features]]:
    """A file of features that takes those of more photographs, made where there is none."""
    return GrowingFile(path, _write_one)


def _write_one(file: h5py.File, found: tuple[View, Features]) -> None:
    view, features = found
    if view.name in file:
        del file[view.name]
    group = file.create_group(view.name)
    write_keypoints(group, features.xy)
    group["descriptors"] = features.descriptors.T
    group["scores"] = features.scores
    group.attrs[_MADE_OF] = made_of(view)
    group["image_size"] = np.array(view.size)


def made_of(view: View) -> str:
    """Check sums of the photograph and its mask, which its features depend on; empty where they are gone."""
    paths = [path for path in (view.path, view.mask) if path is not None]
    return " ".join(map(digest, paths)) if all(path.is_file() for path in paths) else ""


def _holds(found: Mapping[str, str | None], view: View) -> bool:
    """Whether the features of a photograph are there, and none of another one under its name."""
    return view.name in found and (not found[view.name] or made_of(view) in ("", found[view.name]))


def names_in(path: Path, views: Sequence[View]) -> set[str]:
    """Names of the images that a feature file holds as they are now; a damaged file is removed."""
    if not path.is_file():
        return set()
    found: dict[str, Any] = {}
    try:
        with h5py.File(path, "r") as file:

            def visit(name: str, item: Any) -> None:
                if isinstance(item, h5py.Group) and "image_size" in item:  # the last that is written
                    found[name] = item.attrs.get(_MADE_OF)

            file.visititems(visit)
    except DAMAGED:
        path.unlink()
        return set()
    return {view.name for view in views if _holds(found, view)}
