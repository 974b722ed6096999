"""Which views see the same surfaces, from their depths and cameras alone."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.geometry.pinhole import project
from dust3r_sfm.geometry.transforms import apply
from dust3r_sfm.training.view import TrainingView

_NUM_SAMPLES = 24
"""Pixels along each side whose points are looked for in the other view: chosen by hand."""
_SAME_SURFACE_OF_DEPTH = 0.05
"""By how much depths of one surface may differ: chosen by hand."""


def overlaps(views: Sequence[TrainingView]) -> Float64[np.ndarray, "n n"]:
    """Share of the known pixels of view i that view j sees as well: inside its picture, at its depth within 5 %."""
    points = [_sampled(view) for view in views]
    share = np.zeros((len(views), len(views)))
    for i, xyz in enumerate(points):
        for j, view in enumerate(views):
            share[i, j] = _seen(xyz, view) if i != j and len(xyz) else 0.0
    return share


def mine_pairs(share: Float64[np.ndarray, "n n"], least: float = 0.15, most: float = 0.95) -> Int64[np.ndarray, "p 2"]:
    """Pairs i < j whose smaller overlap lies between the limits: enough to learn from, and not the same picture."""
    mutual = np.minimum(share, share.T)
    pairs: Int64[np.ndarray, "p 2"] = np.argwhere(np.triu((mutual >= least) & (mutual <= most), 1))
    return pairs


def _sampled(view: TrainingView) -> Float64[np.ndarray, "p 3"]:
    """Points in the world of a grid of pixels."""
    rows = np.linspace(0, view.depth.shape[0] - 1, _NUM_SAMPLES).astype(int)
    columns = np.linspace(0, view.depth.shape[1] - 1, _NUM_SAMPLES).astype(int)
    grid = np.ix_(rows, columns)
    points: Float64[np.ndarray, "p 3"] = view.world_points()[grid][view.depth[grid] > 0]
    return points


def _seen(xyz: Float64[np.ndarray, "p 3"], view: TrainingView) -> float:
    in_camera = apply(view.cam_from_world, xyz)
    in_front = in_camera[:, 2] > 0
    xy = np.zeros((len(xyz), 2))
    xy[in_front] = project(in_camera[in_front], view.intrinsics)
    inside = in_front & (xy >= 0).all(axis=1) & (xy < view.size).all(axis=1)
    column, row = np.where(inside[:, None], xy, 0).astype(int).T
    known = view.depth[row, column]
    agrees = inside & (np.abs(known - in_camera[:, 2]) <= _SAME_SURFACE_OF_DEPTH * in_camera[:, 2])
    return float(agrees.mean())
