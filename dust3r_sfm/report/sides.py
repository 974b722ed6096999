"""A model seen from above, from the front and from the side: coloured points, with the cameras drawn over them."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from dust3r_sfm.geometry.transforms import centres
from dust3r_sfm.report.model import Model

_BACKGROUND_LEVEL = 255
_SUPERSAMPLING = 2
"""Points are painted at so many times the size, and shrunk; chosen by hand."""
_FRUSTUM_OF_EXTENT = 0.05
_MARGIN_OF_EXTENT = 1.08
"""Length of a frustum, and the side of the drawing, over what is drawn; chosen by hand."""
_INNER_PERCENTILES = (5.0, 95.0)
"""Points outside are cut off; chosen by hand."""

FRUSTUM_EDGES = ((0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1))
"""Lines between a camera's centre and the four corners of its picture, as rows of `Model.frusta`."""

_SIDES = {
    "from above": np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]]),
    "from the front": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]]),
    "from the side": np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]),
}
"""(right, down, towards the viewer) of each drawing from (right, forward, up) of the model."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One drawing: the points as pixels, and where the cameras stand on it.

    Attributes:
        title: from where the model is seen.
        pixels: the points on white (h, w, 3).
        frusta: centre and picture corners of each camera, in pixels (n, 5, 2).
    """

    title: str
    pixels: UInt8[np.ndarray, "h w 3"]
    frusta: Float64[np.ndarray, "n 5 2"]


def draw_sides(model: Model, width: int = 520, height: int = 390) -> list[Side]:
    """Draw a model without perspective from above, from the front and from the side, all to the same scale.

    The front is where the cameras stand on average; up is what is up in most photographs. The few percent of points
    that lie far outside are cut off, cameras never.
    """
    eyes = centres(model.cam_from_world)
    level_from_world = model.level_from_world()
    points, frusta_at = model.xyz @ level_from_world.T, eyes @ level_from_world.T
    bulk = np.percentile(points, _INNER_PERCENTILES, axis=0) if len(points) else frusta_at
    low, high = np.minimum(bulk[0], frusta_at.min(axis=0)), np.maximum(bulk[-1], frusta_at.max(axis=0))
    extent = np.maximum((high - low).max() * _MARGIN_OF_EXTENT, 1e-9)
    frusta = model.frusta(_FRUSTUM_OF_EXTENT * extent) @ level_from_world.T
    scale = min(width, height) / extent
    middle = (low + high) / 2
    shift = np.array([width / 2, height / 2])
    drawn = []
    for title, side_from_level in _SIDES.items():
        seen = (points - middle) @ side_from_level.T * scale
        outlines = (frusta - middle) @ side_from_level.T * scale
        pixels = _splat(seen, model.rgb, (width, height))
        drawn.append(Side(title=title, pixels=pixels, frusta=outlines[..., :2] + shift))
    return drawn


def _splat(
    seen: Float64[np.ndarray, "p 3"], rgb: UInt8[np.ndarray, "p 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "h w 3"]:
    """Paint points as dots, the nearest last."""
    width, height = size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING
    canvas = np.full((height, width, 3), _BACKGROUND_LEVEL, np.uint8)
    order = np.argsort(seen[:, 2], kind="stable")
    column = np.floor(seen[order, 0] * _SUPERSAMPLING + width / 2).astype(np.int64)
    row = np.floor(seen[order, 1] * _SUPERSAMPLING + height / 2).astype(np.int64)
    for shift in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = column + shift[0], row + shift[1]
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        canvas[y[inside], x[inside]] = rgb[order[inside]]
    drawn: UInt8[np.ndarray, "h w 3"] = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    return drawn
