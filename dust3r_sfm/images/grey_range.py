"""Which part of 16 bits a set of grey pictures uses: thermal cameras and 12-bit sensors leave most of it empty."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dust3r_sfm.images.decode import decode, naming, open_image
from dust3r_sfm.system.parallel import map_ordered, num_cores
from dust3r_sfm.types import View

_PERCENTILES = (0.1, 99.9)
"""Of a picture's pixels, what lies between them counts: dead pixels of a sensor do not. Chosen by hand."""

_WIDE_OF_RANGE = 0.25
"""A set that uses more of the 16 bits is cut to their upper eight, as other programs do. Chosen by hand."""

_NUM_PIXELS = 100_000
"""Pixels of a picture that are looked at, evenly spread."""

GreyRange = tuple[float, float]
"""The value that becomes black, and the one that becomes white."""


def has_wide_pixels(image: Image.Image) -> bool:
    """Whether an open picture is grey with more than 8 bits."""
    return image.mode.startswith("I")


def narrow_range(views: Sequence[View]) -> GreyRange | None:
    """The range that a set's 16-bit grey pictures share, where it is a small part of their 16 bits.

    It is one for the set, so that brightness stays comparable.

    Raises:
        ImageError: a photograph has been damaged or removed since it was read.
    """

    def used(view: View) -> GreyRange | None:
        with naming(view.path), open_image(view.path) as image:
            if not has_wide_pixels(image):
                return None
            values = np.asarray(decode(view.path)).ravel()
        low, high = np.percentile(values[:: max(1, len(values) // _NUM_PIXELS)], _PERCENTILES)
        return float(low), float(high)

    ranges = np.array([one for one in map_ordered(used, views, num_cores(0)) if one is not None])
    if not len(ranges):
        return None
    low, high = float(ranges[:, 0].min()), float(ranges[:, 1].max())
    return (low, high) if 0 < high - low < _WIDE_OF_RANGE * 65535 else None


def stretched(image: Image.Image, grey: GreyRange) -> UInt8[np.ndarray, "h w"]:
    """The pixels of a decoded 16-bit picture in 8 bits, the range stretched over all of them."""
    low, high = grey
    values = (np.asarray(image).astype(np.float32) - low) * (255 / (high - low))
    return np.asarray(np.rint(values.clip(0, 255)), np.uint8)
