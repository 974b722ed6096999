"""The similarity from a model to measured positions, without the wrong ones, and with gravity where it is known."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.alignment.frame.upright import Down
from dust3r_sfm.geometry.procrustes import rotation_and_scale
from dust3r_sfm.geometry.transforms import apply
from dust3r_sfm.types import Positions

_MAX_ERROR_STANDARD_DEVIATIONS = 2.7954834829151074
"""What misses by more of its standard deviations is wrong: 95 % of chi squared with three degrees; COLMAP's default."""
_MAX_ERROR_OF_SPREAD = 0.02
"""At least so much of the positions' spread may be missed, because a model is bent that nothing has straightened yet;
chosen by hand."""
_MAX_UP_OF_HORIZONTAL = 2.0
"""Heights that are less sure than this count as if they were so sure; chosen by hand."""
_ROUNDS = 5
"""Of fitting to the positions that agree; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A model brought to measured positions.

    Attributes:
        world_from_model: similarity (4, 4).
        agreeing: which positions it was fitted to (g,).
        spread: root mean square extents of these positions along their principal axes in metres (3,).
        miss: root mean square distance between them and the cameras in metres.
    """

    world_from_model: Float64[np.ndarray, "4 4"]
    agreeing: Bool[np.ndarray, " g"]
    spread: Float64[np.ndarray, " 3"]
    miss: float


def spread_of(xyz: Float64[np.ndarray, "g 3"]) -> Float64[np.ndarray, " 3"]:
    """Root mean square extents along the principal axes."""
    return np.asarray(np.linalg.svd(xyz - xyz.mean(0), compute_uv=False) / np.sqrt(len(xyz)))


def fit_positions(
    centres: Float64[np.ndarray, "g 3"], positions: Positions, down: Down | None, seed: int
) -> Fit | None:
    """Fit a similarity to positions: LO-RANSAC of pycolmap, then weighted least squares with gravity as a direction.

    Args:
        centres: of the cameras, in the model.
        positions: of the same cameras, all known.
        down: in the model; it decides the tilt where it is surer than the positions.
        seed: of RANSAC.

    Returns:
        The fit; None where no four positions agree.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    # A height that is not known must not make a place 1 km wide.
    east, north, up = positions.sigmas.T
    sigma = np.sqrt((east**2 + north**2 + np.minimum(up, _MAX_UP_OF_HORIZONTAL * np.maximum(east, north)) ** 2) / 3)
    limit = max(
        _MAX_ERROR_STANDARD_DEVIATIONS * float(np.median(sigma)),
        _MAX_ERROR_OF_SPREAD * float(np.median(np.linalg.norm(positions.xyz - np.median(positions.xyz, 0), axis=1))),
    )
    options = pycolmap.RANSACOptions(max_error=limit, random_seed=seed)
    found: Any = pycolmap.estimate_sim3d_robust(centres, positions.xyz, options)
    if found is None:
        return None
    agreeing, similarity = np.asarray(found["inlier_mask"], bool), np.eye(4)
    for _ in range(_ROUNDS):
        if agreeing.sum() < 4:
            return None
        similarity = _similarity(centres[agreeing], positions.xyz[agreeing], sigma[agreeing], down)
        misses = np.linalg.norm(apply(similarity, centres) - positions.xyz, axis=1)
        agreeing = misses < np.maximum(limit, _MAX_ERROR_STANDARD_DEVIATIONS * sigma)
    if agreeing.sum() < 4:
        return None
    return Fit(
        world_from_model=similarity,
        agreeing=agreeing,
        spread=spread_of(positions.xyz[agreeing]),
        miss=float(np.sqrt((misses[agreeing] ** 2).mean())),
    )


def _similarity(
    centres: Float64[np.ndarray, "g 3"],
    xyz: Float64[np.ndarray, "g 3"],
    sigma: Float64[np.ndarray, " g"],
    down: Down | None,
) -> Float64[np.ndarray, "4 4"]:
    """Weighted least squares of positions and a direction; scale and rotation take turns, each needs the other."""
    weights = 1.0 / sigma**2
    middle, target_middle = (np.average(points, axis=0, weights=weights) for points in (centres, xyz))
    source, target = centres - middle, xyz - target_middle
    products, spread = (target * weights[:, None]).T @ source, float((weights * (source**2).sum(1)).sum())
    rotation, scale = rotation_and_scale(products, spread)
    if down is not None:
        pull = np.outer([0.0, 0.0, -1.0], down.direction) / np.radians(down.sigma_degrees) ** 2
        for _ in range(_ROUNDS):
            rotation, _ = rotation_and_scale(scale * products + pull, spread)
            scale = max(float((rotation * products).sum()) / spread, 1e-12)
    similarity = np.eye(4)
    similarity[:3, :3] = scale * rotation
    similarity[:3, 3] = target_middle - similarity[:3, :3] @ middle
    return similarity
