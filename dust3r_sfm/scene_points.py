"""The points of a scene's pixels in its world, and which of them to believe."""

from operator import index
from typing import SupportsIndex

import numpy as np
from jaxtyping import Bool, Float32

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.pinhole import unproject
from dust3r_sfm.geometry.transforms import apply, invert
from dust3r_sfm.types import NOTHING_KNOWN, Scene


def world_points(scene: Scene, image: str | SupportsIndex) -> Float32[np.ndarray, "h w 3"]:
    """Give the point of each network pixel of an image, in the world of the scene.

    Args:
        scene: as `align` or `read_scene` gives it.
        image: name of the image, or its index.

    Returns:
        One point per pixel of the network grid, the grid of `scene.depths`; NaN where no depth is known. Other pixels
        may be wrong all the same: `confidence_mask` says which of them to believe.

    Raises:
        InputError: the scene has no such image, or could not place it.
    """
    number = _index_of(scene, image)
    if not scene.registered[number]:
        raise InputError(
            f"{scene.names[number]} was not placed in the scene: pass over images whose scene.registered is False."
        )
    depth = np.where(scene.depths[number] > 0, scene.depths[number], np.float32(np.nan))
    world_from_cam = invert(scene.cam_from_world[number])
    return apply(world_from_cam, unproject(depth, scene.intrinsics[number])).astype(np.float32)


def confidence_mask(scene: Scene, image: str | SupportsIndex, min_confidence: float) -> Bool[np.ndarray, "h w"]:
    """Tell which network pixels of an image have a known depth and more than some confidence.

    Args:
        scene: as `align` or `read_scene` gives it.
        image: name of the image, or its index.
        min_confidence: in the units of the predictor's own confidences, which start at 1 ("nothing known"); 1 asks for
            whatever is known. DUSt3R's programs cut at 3; the embedded predictor's scale is its own.

    Raises:
        InputError: the scene has no such image.
    """
    number = _index_of(scene, image)
    return (scene.confidences[number] > max(min_confidence, NOTHING_KNOWN)) & (scene.depths[number] > 0)


def _index_of(scene: Scene, image: str | SupportsIndex) -> int:
    index_of = {name: number for number, name in enumerate(scene.names)}
    number = index_of.get(image, -1) if isinstance(image, str) else index(image)
    if not 0 <= number < len(scene.names):
        raise InputError(
            f"The scene has no image {image!r}: it has {len(scene.names)}, the first of them {scene.names[0]}."
        )
    return number
