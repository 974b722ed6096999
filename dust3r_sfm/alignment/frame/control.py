"""A model brought to surveyed points."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.geometry.procrustes import similarity
from dust3r_sfm.geometry.transforms import apply
from dust3r_sfm.images.priors.control_points import MIN_POINTS
from dust3r_sfm.tracks.cameras import PosedCameras
from dust3r_sfm.tracks.triangulation import Points, triangulate_robustly
from dust3r_sfm.types import ControlPoints, Tracks

_MAX_MARK_OF_SIDE = 0.02
"""A mark is wrong that misses its triangulated point by more than this share of the longer side; chosen by hand."""
_MAX_ERROR_OF_SPREAD = 0.03
"""A surveyed position is wrong that misses by more than this share of the points' extent; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class ControlFit:
    """A model brought to surveyed points.

    Attributes:
        world_from_model: similarity (4, 4).
        agreeing: points that it was fitted to (p,).
    """

    world_from_model: Float64[np.ndarray, "4 4"]
    agreeing: Bool[np.ndarray, " p"]


def triangulated(control: ControlPoints, cameras: PosedCameras) -> Float64[np.ndarray, "p 3"]:
    """Where cameras see the marks of each point; NaN where no two agree."""
    xyz = np.full((len(control.names), 3), np.nan)
    limits = _MAX_MARK_OF_SIDE * cameras.sizes.max(1).astype(np.float64)
    seen = cameras.posed[control.image_of]
    for point in range(len(xyz)):
        marks = np.flatnonzero(seen & (control.point_of == point))
        if len(marks) < 2:
            continue
        track = Tracks(
            xyz=np.full((1, 3), np.nan),
            rgb=np.zeros((1, 3), np.uint8),
            track_of=np.zeros(len(marks), np.int64),
            image_of=control.image_of[marks],
            xy=control.xy[marks],
        )
        found = triangulate_robustly(Points.of(cameras, track), limits)
        if len(found):
            xyz[point] = found.tracks.xyz[0]
    return xyz


def fit_control(control: ControlPoints, cameras: PosedCameras, seed: int) -> ControlFit | None:
    """Fit a similarity from a model to surveyed points (LO-RANSAC of pycolmap, then least squares).

    Returns:
        The fit; None where fewer than three points can be triangulated or agree.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    found = triangulated(control, cameras)
    known = np.isfinite(found).all(1)
    if known.sum() < MIN_POINTS:
        return None
    spread = float(np.sqrt(((control.xyz[known] - control.xyz[known].mean(0)) ** 2).sum(1).mean()))
    options = pycolmap.RANSACOptions(max_error=_MAX_ERROR_OF_SPREAD * spread, random_seed=seed)
    solution: Any = pycolmap.estimate_sim3d_robust(found[known], control.xyz[known], options)
    if solution is None:
        return None
    agreeing = np.zeros(len(known), bool)
    agreeing[np.flatnonzero(known)[np.asarray(solution["inlier_mask"], bool)]] = True
    if agreeing.sum() < MIN_POINTS:
        return None
    world_from_model = similarity(found[agreeing], control.xyz[agreeing])
    with np.errstate(invalid="ignore"):
        misses = np.linalg.norm(apply(world_from_model, found) - control.xyz, axis=1)
    return ControlFit(world_from_model=world_from_model, agreeing=agreeing & (misses < 2 * options.max_error))
