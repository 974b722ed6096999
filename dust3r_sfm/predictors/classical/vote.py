"""What is known of focal lengths before the adjustment: priors, and the vote of fundamental matrices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.predictors.classical.lens import Lens
from dust3r_sfm.predictors.classical.pose import MAX_ERROR_NETWORK_PX, ransac_options
from dust3r_sfm.predictors.classical.sampson import CalibratedMatches
from dust3r_sfm.system.parallel import map_ordered
from dust3r_sfm.types import Edge

_FOCAL_GRID_OF_SIDE = np.geomspace(0.4, 4.0, 47)
"""Focal lengths of the vote, over the longer side; 5 % apart. Chosen by hand."""

UNKNOWN_SPREAD, EXIF_SPREAD, RADIAL_SPREAD = 0.5, 0.1, 0.05
"""Standard deviations of the priors: log focal without and with EXIF (crops and rounding), radial term. Chosen by
hand."""

_SATURATION = 0.05
"""Relative difference of the singular values at which a pair's vote saturates. Chosen by hand."""

MIN_VOTERS = 50
"""Matches that agree with the geometry of a pair, for its vote to count. Chosen by hand."""

Groups = Int64[np.ndarray, " n"]
"""Index of the camera group of each image."""


@dataclass(frozen=True)
class Prior:
    """Per group: log of focal length over longer side, its standard deviation, and whether it is to be found."""

    mean: Float64[np.ndarray, " g"]
    spread: Float64[np.ndarray, " g"]
    is_free: Bool[np.ndarray, " g"]

    @classmethod
    def of(cls, start: Sequence[Lens], has_prior: Sequence[bool], group_of: Groups) -> "Prior":
        scale = np.log([lens.focal / max(lens.size) for lens in start])
        count = np.bincount(group_of)
        known = np.bincount(group_of, weights=np.asarray(has_prior, float)) > 0
        return cls(
            mean=np.bincount(group_of, weights=scale) / count,
            spread=np.where(known, EXIF_SPREAD, UNKNOWN_SPREAD),
            is_free=np.bincount(group_of, weights=[lens.is_known for lens in start]) == 0,
        )

    def deviation(self, lenses: Sequence[Lens], group_of: Groups) -> Float64[np.ndarray, " g2"]:
        """Deviations of every group's log focal length, then of its radial term, in standard deviations."""
        first = np.unique(group_of, return_index=True)[1]
        scale = np.log([lenses[image].focal / max(lenses[image].size) for image in first])
        radial = np.array([lenses[image].radial for image in first])
        deviation = np.concatenate([(scale - self.mean) / self.spread, radial / RADIAL_SPREAD])
        return np.asarray(np.where(np.tile(self.is_free, 2), deviation, 0))

    def system(
        self, lenses: Sequence[Lens], group_of: Groups
    ) -> tuple[Float64[np.ndarray, "g2 g2"], Float64[np.ndarray, " g2"]]:
        """Normal matrix and gradient of half the squared deviations."""
        inverse = 1 / np.concatenate([self.spread, np.full(len(self.spread), RADIAL_SPREAD)])
        return np.diag(inverse**2), inverse * self.deviation(lenses, group_of)


def vote(
    start: Sequence[Lens],
    group_of: Groups,
    prior: Prior,
    edges: Sequence[Edge],
    matches: Mapping[Edge, CalibratedMatches],
    seed: int,
    num_workers: int,
) -> tuple[Float64[np.ndarray, " g"], int]:
    """Choose the groups' log focal lengths on the grid: iterated conditional modes, from several common starts.

    Returns:
        Log of focal length over longer side of every group, and how many pairs voted.
    """
    tables = list(
        map_ordered(lambda edge: _table(matches[edge], start[edge[0]], start[edge[1]], seed), edges, num_workers)
    )
    voters = [
        (group_of[i], group_of[j], table) for (i, j), table in zip(edges, tables, strict=True) if table is not None
    ]
    own = 0.5 * ((np.log(_FOCAL_GRID_OF_SIDE)[None] - prior.mean[:, None]) / prior.spread[:, None]) ** 2
    if not voters:
        return prior.mean, 0
    best, best_cost = None, np.inf
    for cell in range(0, len(_FOCAL_GRID_OF_SIDE), 4):
        chosen = np.where(prior.spread == UNKNOWN_SPREAD, cell, own.argmin(axis=1))
        for _ in range(10):
            before = chosen.copy()
            for group in range(len(own)):
                cost = own[group].copy()
                for first, second, table in voters:
                    if first == group and second == group:
                        cost += np.diagonal(table)
                    elif first == group:
                        cost += table[:, chosen[second]]
                    elif second == group:
                        cost += table[chosen[first]]
                chosen[group] = cost.argmin()
            if (chosen == before).all():
                break
        total = own[np.arange(len(own)), chosen].sum() + sum(table[chosen[a], chosen[b]] for a, b, table in voters)
        if total < best_cost:
            best, best_cost = chosen, total
    assert best is not None
    return np.log(_FOCAL_GRID_OF_SIDE[best]), len(voters)


def _table(points: CalibratedMatches, lens1: Lens, lens2: Lens, seed: int) -> np.ndarray | None:
    """A pair's vote on the grid (focal of image 1, of image 2): 0 for an essential matrix, 1 for far from one."""
    from dust3r_sfm.system._pycolmap import pycolmap

    options = ransac_options(MAX_ERROR_NETWORK_PX, seed)
    geometry = pycolmap.estimate_fundamental_matrix(points.xy1, points.xy2, options)
    plane = pycolmap.estimate_homography_matrix(points.xy1, points.xy2, options)
    # A plane, or a camera that only turned, leaves the fundamental matrix undetermined.
    if (
        geometry is None
        or geometry["num_inliers"] < MIN_VOTERS
        or (plane and plane["num_inliers"] > 0.8 * geometry["num_inliers"])
    ):
        return None
    calibrations = []
    for lens in (lens1, lens2):
        width, height = lens.size
        matrices = np.zeros((len(_FOCAL_GRID_OF_SIDE), 3, 3))
        matrices[:, 0, 0] = matrices[:, 1, 1] = _FOCAL_GRID_OF_SIDE * max(lens.size)
        matrices[:, :, 2] = width / 2, height / 2, 1
        # Whatever cell a known lens is given, it is the known one.
        calibrations.append(np.tile(lens.matrix, (len(_FOCAL_GRID_OF_SIDE), 1, 1)) if lens.is_known else matrices)
    essential = np.swapaxes(calibrations[1], 1, 2)[None] @ geometry["F"] @ calibrations[0][:, None]
    values = np.linalg.svd(essential, compute_uv=False)
    unequal = (values[..., 0] - values[..., 1]) / (values[..., 0] + values[..., 1])
    return np.asarray(np.minimum((unequal / _SATURATION) ** 2, 1))
