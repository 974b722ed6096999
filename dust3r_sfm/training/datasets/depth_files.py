"""Depth maps as data sets store them."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from dust3r_sfm.errors import InputError, SampleError

SUFFIXES = (".npy", ".npz", ".png", ".exr")

_UNKNOWN_UINT16 = 65535
"""Step of a 16-bit depth map that stands for no depth (Shotton et al. 2013, 7-Scenes)."""


def read_depth(path: Path, unit: float = 1000.0) -> Float32[np.ndarray, "h w"]:
    """Read a depth map: .npy or .npz (one float array), .exr (float), .png (16 bits; 0 and 65535 are unknown).

    Args:
        path: the file.
        unit: values of a .png that make one unit of the poses; 1000 for millimetres beside poses in metres.

    Returns:
        Depth, 0 where unknown.

    Raises:
        SampleError: the file is missing or damaged, or holds no known depth.
        InputError: nothing here can read .exr files.
    """
    try:
        depth = _READERS[path.suffix.lower()](path, unit)
    except KeyError as error:
        raise SampleError(f"{path} is no depth map: {', '.join(SUFFIXES)} are read.", path=path) from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise SampleError(f"{path} cannot be read ({error}).", path=path) from error
    if depth.ndim != 2:
        raise SampleError(f"{path} holds an array of {depth.ndim} axes instead of a depth map.", path=path)
    known = np.isfinite(depth) & (depth > 0)
    if not known.any():
        raise SampleError(f"{path} holds no known depth.", path=path)
    filled: Float32[np.ndarray, "h w"] = np.where(known, depth, 0).astype(np.float32)
    return filled


def _of_npy(path: Path, _unit: float) -> Any:
    return np.load(path, allow_pickle=False)


def _of_npz(path: Path, _unit: float) -> Any:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays[arrays.files[0]]


def _of_png(path: Path, unit: float) -> Any:
    from PIL import Image

    with Image.open(path, formats=["PNG"]) as file:
        values = np.asarray(file)
    if values.dtype == np.uint8:
        raise ValueError("8 bits are too few for depth")
    return np.where(values == _UNKNOWN_UINT16, 0, values).astype(np.float32) / unit


def _of_exr(path: Path, _unit: float) -> Any:
    try:
        import OpenEXR
    except ImportError as error:
        raise InputError(f"Reading {path} needs OpenEXR; install it with pip install OpenEXR.", path=path) from error
    try:
        channels = OpenEXR.File(str(path)).channels()
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    return next(iter(channels.values())).pixels


_READERS = {".npy": _of_npy, ".npz": _of_npz, ".png": _of_png, ".exr": _of_exr}
