"""360° panoramas, which no pinhole stands for: told by their XMP note, or by borders that continue each other."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dust3r_sfm.images.priors.xmp import read_xmp
from dust3r_sfm.types import Size

PANORAMA = "it is a 360° panorama: cut it into perspective views, and give those"
"""Why a panorama is left out."""

LOOK_LIKE = "360° panorama"
"""What a warning says of photographs that look like one."""

_STEP_OF_USUAL = 2.0
"""Step between the left and the right border, over the usual one between neighbouring columns, up to which the picture
goes on there; chosen by hand."""

_LEAST_STEP_OF_255 = 1.0
"""Usual steps below show a picture without content; chosen by hand."""

_SHORT_OF_FAR = 0.35
"""The same step over that between columns a quarter of the picture apart, at most; chosen by hand."""


def is_marked_panorama(image: Image.Image) -> bool:
    """Whether an open file says that it is a panorama (GPano, Google's photo sphere XMP metadata)."""
    return read_xmp(image).get("GPano:ProjectionType", "").lower() in ("equirectangular", "cylindrical")


def is_twice_as_wide(size: Size) -> bool:
    """Whether a picture has exactly the shape of an equirectangular panorama."""
    return size[0] == 2 * size[1]


def continues_around(pixels: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Whether a picture, at any size, goes on at its right border where it ends at its left one."""
    if pixels.shape[1] < 8:
        return False
    grey = pixels.astype(np.float32).mean(axis=2)
    usual = float(np.median(np.abs(np.diff(grey, axis=1)).mean(axis=0)))
    far = float(np.abs(grey - np.roll(grey, pixels.shape[1] // 4, axis=1)).mean())
    across = float(np.abs(grey[:, 0] - grey[:, -1]).mean())
    return usual > _LEAST_STEP_OF_255 and across < _STEP_OF_USUAL * usual and across < _SHORT_OF_FAR * far


def panorama_warning(names: Sequence[str]) -> str:
    """Say which photographs look like panoramas."""
    rest = f" and {len(names) - 1} others" if len(names) > 1 else ""
    verb = f"look like {LOOK_LIKE}s" if len(names) > 1 else f"looks like a {LOOK_LIKE}"
    return (
        f"{names[0]}{rest} {verb} (twice as wide as high, and the borders continue each other), which cannot be placed "
        "as photographs: cut them into perspective views, and give those."
    )
