"""NYUv2's labelled part: the published MATLAB file with its list of test images, or a file .h5 of each test image."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from scipy.io import loadmat

from dust3r_sfm.errors import InputError
from dust3r_sfm.system.files import atomic_path
from pipelines.mono_depth.sample import DepthSample

_LABELLED, _SPLITS, _TESTS = "nyu_depth_v2_labeled.mat", "splits.mat", "testNdxs"


def nyu_samples(folder: Path, pictures: Path) -> list[DepthSample]:
    """List the test images; each photograph becomes a PNG file when it is needed.

    Args:
        folder: holds nyu_depth_v2_labeled.mat and splits.mat, or files NAME.h5 (rgb, depth) at any depth.
        pictures: folder for the photographs.

    Raises:
        InputError: neither is there, or a file is damaged.
    """
    files = sorted(folder.rglob("*.h5"))
    if files:
        return [_sample(pictures, file.stem, partial(_of_h5, file)) for file in files]
    labelled = folder / _LABELLED
    if not labelled.is_file():
        raise InputError(f"{folder} holds neither {_LABELLED} nor test images as .h5 files.", path=folder)
    try:
        tests = loadmat(folder / _SPLITS)[_TESTS].ravel().astype(int).tolist()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder / _SPLITS} is missing or has no {_TESTS}; it is on the set's page.") from error
    return [_sample(pictures, f"{number:04d}", partial(_of_labelled, labelled, number)) for number in tests]


def _sample(pictures: Path, name: str, read: Callable[[str], np.ndarray]) -> DepthSample:
    return DepthSample(
        name=f"{name}.png", root=pictures, truth=partial(read, "depth"), write_picture=partial(_write, read)
    )


def _write(read: Callable[[str], np.ndarray], path: Path) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(read("rgb")).save(temporary, format="PNG")


def _of_h5(path: Path, kind: str) -> np.ndarray:
    """One of `rgb` (h, w, 3) and `depth` (h, w); stored as (3, h, w) and (h, w)."""
    stored = _stored(path, kind, ...)
    return np.ascontiguousarray(np.moveaxis(stored, 0, -1)) if kind == "rgb" else stored


def _of_labelled(path: Path, number: int, kind: str) -> np.ndarray:
    """The same of an image of the MATLAB file, counted from 1; stored transposed, as (3, w, h) and (w, h)."""
    stored = _stored(path, "images" if kind == "rgb" else "depths", number - 1)
    return np.ascontiguousarray(stored.transpose())


def _stored(path: Path, name: str, index: object) -> np.ndarray:
    try:
        with h5py.File(path, "r") as file:
            return np.asarray(file[name][index])
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise InputError(f"{path} is damaged or has no {name}; fetch it again.", path=path) from error
