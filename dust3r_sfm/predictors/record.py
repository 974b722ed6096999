"""One prediction as an HDF5 group: half precision in units of a scale of its own.

Half floats move a pixel of a pointmap by 0.04 network pixels on average and 0.25 at most, less than any later stage can
tell. Nothing is compressed: the low byte of a half float is noise, and LZF with shuffle would save a third of the disk
for ten times the writing time and four times the reading time.
"""

from collections.abc import Mapping

import h5py
import numpy as np
from jaxtyping import Float16, Float32

from dust3r_sfm.system.hdf5 import entry, read_numbers, read_scale
from dust3r_sfm.types import NOTHING_KNOWN, PairPrediction, is_known

MAX_BYTES_PER_PIXEL = 8
"""A point and a confidence of half floats."""

_SHAPES: Mapping[str, tuple[int | None, ...]] = {
    "points": (None, None, 3),
    "confidence": (None, None),
    "descriptors": (None, None, None),
    "descriptor_confidence": (None, None),
}
_ALWAYS = ("points", "confidence")
"""What each image of a pair has; descriptors are from some predictors only."""

_HALF = np.finfo(np.float16)
LEAST_KNOWN = np.float32(NOTHING_KNOWN + _HALF.eps)
"""The least confidence above "nothing known" that a half float can say."""


def write_record(group: h5py.Group, prediction: PairPrediction) -> int:
    """Write one prediction into an empty group and return the number of bytes.

    Points are divided by a power of two near their median distance, the attribute `scale`, so that half floats keep
    their full precision; confidence above 1 stays above 1. What half floats cannot hold is clipped to ±65504. A pair
    that failed (confidence 1 everywhere) takes no room: its points read as (1, 1, 1).
    """
    failed = not (is_known(prediction.confidence1).any() or is_known(prediction.confidence2).any())
    scale = 1.0 if failed else _scale(prediction)
    group.attrs["scale"] = scale
    maps = {
        "points1": prediction.points1 * np.float32(1 / scale),
        "confidence1": _keep_known(prediction.confidence1),
        "points2": prediction.points2 * np.float32(1 / scale),
        "confidence2": _keep_known(prediction.confidence2),
        "descriptors1": prediction.descriptors1,
        "descriptors2": prediction.descriptors2,
        "descriptor_confidence1": prediction.descriptor_confidence1,
        "descriptor_confidence2": prediction.descriptor_confidence2,
    }
    num_bytes = 0
    for name, values in maps.items():
        if values is not None and failed:
            # HDF5 keeps no data for a dataset that was never written, only its shape and fill value.
            group.create_dataset(name, shape=values.shape, dtype=np.float16, fillvalue=NOTHING_KNOWN)
        elif values is not None:
            half = np.clip(values, _HALF.min, _HALF.max).astype(np.float16)
            group.create_dataset(name, data=half)
            num_bytes += half.nbytes
    return num_bytes


def read_record(group: h5py.Group) -> PairPrediction:
    """Read what `write_record` wrote, in single precision.

    Raises:
        LookupError, ValueError: it is something else.
    """
    maps = {
        f"{name}{role}": read_numbers(group, f"{name}{role}", shape).astype(np.float32)
        for name, shape in _SHAPES.items()
        for role in (1, 2)
        if name in _ALWAYS or entry(group, f"{name}{role}") is not None
    }
    scale = np.float32(read_scale(group, "scale"))
    maps["points1"] *= scale
    maps["points2"] *= scale
    _require_one_grid(group, maps)
    return PairPrediction(**maps)


def read_halves(group: h5py.Group, role: int) -> tuple[Float16[np.ndarray, "h w 3"], Float16[np.ndarray, "h w"], float]:
    """Read the pointmap of the first (role 0) or second image: points over their scale, confidence, and the scale.

    Raises:
        LookupError, ValueError: it is something else.
    """
    maps = {f"{name}{role + 1}": read_numbers(group, f"{name}{role + 1}", _SHAPES[name]) for name in _ALWAYS}
    _require_one_grid(group, maps)
    points, confidence = (values.astype(np.float16, copy=False) for values in maps.values())
    return points, confidence, read_scale(group, "scale")


def _require_one_grid(group: h5py.Group, maps: Mapping[str, np.ndarray]) -> None:
    for role in "12":
        if len({values.shape[:2] for name, values in maps.items() if name.endswith(role)}) > 1:
            raise ValueError(f"the maps of {group.name} are of different sizes")


def _scale(prediction: PairPrediction) -> float:
    """Return the power of two nearest to the median distance of a sample of the points."""
    sample = np.concatenate([points[::8, ::8].reshape(-1, 3) for points in (prediction.points1, prediction.points2)])
    typical = float(np.median(np.abs(sample).max(-1)))
    return float(2.0 ** np.round(np.log2(typical))) if typical > 0 else 1.0


def _keep_known(confidence: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Lift confidences that would round to "nothing known" to the next half float, 1 + 2^-10."""
    return np.where(is_known(confidence), np.maximum(confidence, LEAST_KNOWN), np.float32(NOTHING_KNOWN))
