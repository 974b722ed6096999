"""A pair's matches to look at: both photographs upright, side by side."""

import colorsys

import cv2
import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from dust3r_sfm.images.load import load_pixels
from dust3r_sfm.matching.mutual import spread_first
from dust3r_sfm.matching.windows import fine_view
from dust3r_sfm.types import Matches, View

_LONG_SIDE_PX = 1024
"""Longer side of each photograph in the picture, its pixels; smaller photographs stay as they are. Chosen by hand."""

_MAX_LINES = 100
"""Matches that are joined by a line; more hide the photographs. Chosen by hand."""

_CELL_PX = 8
"""Side of the cells that lines are spread over, pixels of the picture. Chosen by hand."""

_DISAGREEING = (130, 130, 130)
"""Colour (RGB) of matches that contradict the pose."""


def matches_picture(
    view1: View, view2: View, matches: Matches, inlier: Bool[np.ndarray, " m"]
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw the matches of two photographs.

    Those that agree with the pose are dots whose colour is that of their place in the first photograph; some of them,
    spread over it, are joined by lines. The others are small and grey.

    Args:
        view1, view2: the photographs.
        matches: in raw original pixels.
        inlier: which of them agree.

    Returns:
        RGB pixels.

    Raises:
        ImageError: a photograph has been damaged or removed since it was read.
    """
    shown = [fine_view(view, _LONG_SIDE_PX) for view in (view1, view2)]
    picture = _side_by_side([load_pixels(view) for view in shown])
    ends1, ends2 = (
        xy @ view.network_from_image[:2, :2].T + view.network_from_image[:2, 2]
        for xy, view in zip((matches.xy1, matches.xy2), shown, strict=True)
    )
    width, height = shown[0].network_size
    colours = [_colour(x / width, y / height) for x, y in ends1.tolist()]
    ends2 = ends2 + np.array([width, 0.0])
    for row in np.flatnonzero(~inlier).tolist():
        for end in (ends1[row], ends2[row]):
            cv2.circle(picture, _pixel(end), 1, _DISAGREEING, -1, cv2.LINE_AA)
    agreeing = np.flatnonzero(inlier)
    for row in agreeing[_spread(ends1[agreeing])].tolist():
        cv2.line(picture, _pixel(ends1[row]), _pixel(ends2[row]), colours[row], 1, cv2.LINE_AA)
    for row in agreeing.tolist():
        for end in (ends1[row], ends2[row]):
            cv2.circle(picture, _pixel(end), 2, colours[row], -1, cv2.LINE_AA)
    return picture


def _side_by_side(pictures: list[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "h w 3"]:
    height = max(picture.shape[0] for picture in pictures)
    below = [((0, height - picture.shape[0]), (0, 0), (0, 0)) for picture in pictures]
    return np.concatenate([np.pad(picture, pad) for picture, pad in zip(pictures, below, strict=True)], axis=1)


def _spread(xy: Float64[np.ndarray, "m 2"]) -> Int64[np.ndarray, " k"]:
    """Some of the positions that cover the picture evenly."""
    return spread_first((xy // _CELL_PX).astype(np.int64), _MAX_LINES)


def _colour(right: float, down: float) -> tuple[int, int, int]:
    """A bright colour for a place in a picture, 0 to 1 on both axes."""
    red, green, blue = colorsys.hsv_to_rgb(0.85 * right, 1.0 - 0.6 * down, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _pixel(xy: Float64[np.ndarray, " 2"]) -> tuple[int, int]:
    """The pixel that a position lies in."""
    column, row = np.floor(xy).astype(int).tolist()
    return column, row
