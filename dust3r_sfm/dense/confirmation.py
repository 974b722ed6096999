"""Which pixels of a depth map other views confirm: the filter that makes a depth map "geometric" in COLMAP's sense."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from dust3r_sfm.geometry.pinhole import rays

_NUM_CONFIRMING = 2
"""Views that must agree with a pixel, fewer where there are not so many; COLMAP's default (filter_min_num_consistent).
"""

_TOLERANCE_OF_DEPTH = 0.01
"""Views agree when their depths differ by less than this share; COLMAP's default (max_depth_error)."""


@dataclass(frozen=True, kw_only=True)
class PosedDepth:
    """A depth map with its camera.

    Attributes:
        depth: z of each pixel, 0 where unknown (h, w).
        matrix: pinhole matrix (3, 3).
        cam_from_world: pose (3, 4).
    """

    depth: Float32[np.ndarray, "h w"]
    matrix: Float64[np.ndarray, "3 3"]
    cam_from_world: Float64[np.ndarray, "3 4"]


def confirmed(views: Mapping[str, PosedDepth], name: str, others: Sequence[str]) -> Bool[np.ndarray, "h w"]:
    """Mark the pixels of a view whose points lie on the depth maps of enough others.

    Args:
        views: all views.
        name: the view to check.
        others: names of the views to ask.
    """
    view = views[name]
    num_agreeing = np.zeros(view.depth.shape, dtype=np.int64)
    known = view.depth > 0
    points = (rays(view.depth.shape[0], view.depth.shape[1], view.matrix)[known] * view.depth[known, None]).T
    rotation, translation = view.cam_from_world[:, :3], view.cam_from_world[:, 3:]
    world = rotation.T @ (points - translation)
    for other in others:
        num_agreeing[known] += _agrees(views[other], world)
    return known & (num_agreeing >= min(_NUM_CONFIRMING, len(others)))


def _agrees(view: PosedDepth, world: Float64[np.ndarray, "3 p"]) -> Int64[np.ndarray, " p"]:
    """1 for each point that lies on a view's depth map, 0 for the others."""
    height, width = view.depth.shape
    x, y, z = view.cam_from_world[:, :3] @ world + view.cam_from_world[:, 3:]
    in_front = z > 0
    z = np.where(in_front, z, 1.0)
    column = x / z * view.matrix[0, 0] + view.matrix[0, 2]
    row = y / z * view.matrix[1, 1] + view.matrix[1, 2]
    inside = in_front & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column, row = np.where(inside, column, 0).astype(np.int64), np.where(inside, row, 0).astype(np.int64)
    found = view.depth[row, column]
    agrees: Int64[np.ndarray, " p"] = (inside & (np.abs(found - z) <= _TOLERANCE_OF_DEPTH * z)).astype(np.int64)
    return agrees
