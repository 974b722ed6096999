"""SIFT keypoints of photographs at full resolution, by pycolmap on all cores."""

import contextlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from dust3r_sfm.errors import InputError
from dust3r_sfm.features.features import Features, growing_features, names_in, read_features, usable_rows
from dust3r_sfm.features.matcher import RowMatches
from dust3r_sfm.features.published import PublishedFile
from dust3r_sfm.features.verified import loose_matches
from dust3r_sfm.geometry.grid import network_from_raw
from dust3r_sfm.images.load import load_mask, load_original
from dust3r_sfm.system._pycolmap import quiet
from dust3r_sfm.system.files import noticing_a_full_disk
from dust3r_sfm.system.parallel import num_cores
from dust3r_sfm.system.progress import Step, phase
from dust3r_sfm.types import Size, View

_PER_THREAD, _AT_LEAST = 4, 16
"""Photographs that are looked at in one go, and lost when the run is killed. Chosen by hand."""

_BYTES_PER_RAW_PX = 280
"""What COLMAP's SIFT needs at its peak. Chosen by hand."""

_DESCRIPTOR_SIZE = 128
"""Values of a SIFT descriptor (Lowe 2004, section 6)."""


class SiftMatcher:
    """SIFT by pycolmap at its default size, mutual nearest neighbours that pass the ratio test: needs no weights."""

    name = "sift"
    licence = "BSD-3-Clause (COLMAP)"
    files: tuple[PublishedFile, ...] = ()

    def __init__(self, weights: Path | None = None, device: str = "cpu") -> None:
        self.weights = weights

    def check(self) -> None:
        """There is nothing to load."""

    def extract(self, view: View, long_side: int | None = None) -> Features:
        """See `FeatureMatcher`; SIFT bears other scales, and looks at all there is."""
        return _extract([view], num_threads=1)[0]

    def match(self, features1: Features, features2: Features, view1: View, view2: View) -> RowMatches:
        """See `FeatureMatcher`."""
        for features, view in ((features1, view1), (features2, view2)):
            if len(features.xy) and features.descriptors.shape[1] != _DESCRIPTOR_SIZE:
                raise InputError(
                    f"The features of {view.name} have descriptors of length {features.descriptors.shape[1]} where "
                    f"SIFT has {_DESCRIPTOR_SIZE}; extract them again."
                )
        return loose_matches(features1, features2)


def find_features(views: Sequence[View], path: Path, step: Step = lambda done, total: None) -> list[Features]:
    """Find SIFT keypoints of photographs outside their masks (pycolmap's extractor at its default options and size).

    Args:
        views: the photographs.
        path: HDF5 file; photographs that are in it already are not looked at again, so a killed run goes on.
        step: called after each few photographs.
    """
    phase("keypoints")
    known = names_in(path, views)
    wanted = [view for view in views if view.name not in known]
    num_threads = _num_threads(wanted)
    size = max(_PER_THREAD * num_threads, _AT_LEAST)
    with growing_features(path) as file:
        for start in range(0, len(wanted), size):
            batch = wanted[start : start + size]
            for found in zip(batch, _extract(batch, num_threads), strict=True):
                file.add(found)
            step(len(views) - len(wanted) + start + len(batch), len(views))
    return read_features(path, views)


def _num_threads(views: Sequence[View]) -> int:
    """One per core, but no more than half of the memory can bear."""
    pixels = max((math.prod(_within(view.size, _longest_side())) for view in views), default=1)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 8e9
    return max(1, min(num_cores(), int(memory / 2 / (_BYTES_PER_RAW_PX * pixels))))


def _extract(views: Sequence[View], num_threads: int) -> list[Features]:
    """Keypoints of photographs outside their masks, with RootSIFT descriptors; one place may have two orientations.

    By way of files: pycolmap holds Python's lock while it looks at a photograph in memory.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    features = []
    with (
        TemporaryDirectory() as folder,
        noticing_a_full_disk(Path(folder)),
        quiet(),
        ThreadPoolExecutor(num_threads) as pool,
    ):
        files = [Path(folder) / f"{index}.bmp" for index in range(len(views))]
        list(pool.map(_write_grey, views, files))
        pycolmap.extract_features(
            Path(folder) / "features.db",
            folder,
            [file.name for file in files],
            pycolmap.CameraMode.PER_IMAGE,
            extraction_options=pycolmap.FeatureExtractionOptions(num_threads=num_threads, use_gpu=False),
            device=pycolmap.Device.cpu,
        )
        with contextlib.closing(pycolmap.Database.open(Path(folder) / "features.db")) as database:
            for view, file in zip(views, files, strict=True):
                image: Any = database.read_image_with_name(file.name)
                keypoints = np.asarray(database.read_keypoints(image.image_id), np.float32).reshape(-1, 6)
                descriptors = np.asarray(database.read_descriptors(image.image_id).data, np.uint8).reshape(-1, 128)
                features.append(_of_view(view, keypoints, descriptors))
    return features


def _write_grey(view: View, path: Path) -> None:
    """Write a photograph's grey values, not above COLMAP's limit: memory grows with the pixels, keypoints do not."""
    from dust3r_sfm.system._pycolmap import pycolmap

    grey = pycolmap.Bitmap.from_array(load_original(view)).clone_as_grey()
    shrunk = _within(view.size, _longest_side())
    if shrunk != view.size:
        grey.rescale(*shrunk)
    grey.write(path)


def _of_view(view: View, keypoints: Float32[np.ndarray, "k 6"], descriptors: UInt8[np.ndarray, "k d"]) -> Features:
    """Keypoints (x, y, affine shape) of the shrunk photograph as features of the photograph."""
    enlarged = np.array(view.size) / _within(view.size, _longest_side())
    scale = np.sqrt(np.abs(keypoints[:, 2] * keypoints[:, 5] - keypoints[:, 3] * keypoints[:, 4]))
    features = Features(
        xy=keypoints[:, :2] * enlarged, descriptors=descriptors, scores=scale * np.float32(enlarged.max())
    )
    return features.of(usable_rows(network_from_raw(view.network_from_image, features.xy), load_mask(view)))


def _longest_side() -> int:
    from dust3r_sfm.system._pycolmap import pycolmap

    return int(pycolmap.FeatureExtractionOptions().eff_max_image_size())


def _within(size: Size, longest: int) -> Size:
    """The size of a picture made smaller until its longer side is not above a limit."""
    scale = min(1.0, longest / max(size))
    return round(size[0] * scale), round(size[1] * scale)
