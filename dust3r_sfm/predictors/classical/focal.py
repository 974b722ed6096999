"""Focal length and radial term of every camera group, found jointly from the matches of many pairs.

First a vote: each pair's fundamental matrix says which focal lengths would make it an essential matrix (equal singular
values), on a grid of focal lengths; the groups' grid cells are chosen jointly, robustly. Then an adjustment: the
robust Sampson cost of all pairs is minimized over their poses, the focal lengths and the radial terms together, with
the poses eliminated. Where too few pairs can vote (small sets, planes), the adjustment also starts from a scan of focal
lengths, and the one that the matches bear best wins. EXIF is a prior throughout: it decides where the photographs do
not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.predictors.classical.consensus import MIN_BELIEF, choose
from dust3r_sfm.predictors.classical.lens import Lens
from dust3r_sfm.predictors.classical.pose import MAX_ERROR_NETWORK_PX, PosedPair, estimate_poses
from dust3r_sfm.predictors.classical.sampson import (
    NOISE_NETWORK_PX,
    NUM_POSE,
    CalibratedMatches,
    RayPairs,
    linearize,
    move,
    robust_cost,
    robust_weights,
    sampson_distances,
)
from dust3r_sfm.predictors.classical.vote import MIN_VOTERS, UNKNOWN_SPREAD, Groups, Prior, vote
from dust3r_sfm.system.parallel import map_ordered
from dust3r_sfm.types import Edge

DEFAULT_FOCAL_OF_SIDE = 1.0
"""Focal length over the longer side when nothing is known: the middle of phones (0.8) and zooms (1.5). Chosen by
hand."""

_ENOUGH_VOTERS = 10
"""Pairs that vote, from which on the vote alone gives the start. Chosen by hand."""

_SCAN_OF_SIDE = np.geomspace(0.55, 2.2, 6)
"""Focal lengths over the longer side from which the adjustment starts as well where too few pairs vote. Chosen by
hand."""

_PAIRS_PER_IMAGE = 6
"""Pairs of each image that take part in the adjustment. Chosen by hand."""

_MAX_POINTS = 300
"""Correspondences of a pair that take part in the adjustment. Chosen by hand."""

_DATA_WEIGHT = 0.1
"""Correspondences of a pair err together (lens, planes, moving things): ten count as one against the priors. Chosen by
hand."""

_NUM_STEPS = 30
"""Steps of the adjustment at most. Chosen by hand."""

_MAX_STEP = 0.2
"""Largest change of a log focal length or radial term in one step. Chosen by hand."""


@dataclass(frozen=True)
class _Pair:
    image1: int
    image2: int
    points: CalibratedMatches
    cam2_from_cam1: Float64[np.ndarray, "3 4"]


def find_lenses(
    start: Sequence[Lens],
    has_prior: Sequence[bool],
    groups: Sequence[int],
    matches: Mapping[Edge, CalibratedMatches],
    seed: int,
    num_workers: int,
) -> list[Lens]:
    """Find one focal length and radial term per camera group.

    Args:
        start: per image, the lens with its prior focal length.
        has_prior: per image, whether that focal length is from EXIF (otherwise it is a guess).
        groups: per image, its camera group; known lenses share none with others.
        matches: matches of the pairs.
        seed: of the robust estimators.
        num_workers: threads.

    Returns:
        One lens per image. Known ones, and groups that the photographs say nothing about, keep their start.
    """
    if all(lens.is_known for lens in start):
        return list(start)
    edges = _informative_pairs(matches)
    _, group_of = np.unique(np.asarray(groups), return_inverse=True)
    prior = Prior.of(start, has_prior, group_of)
    voted, num_voters = vote(start, group_of, prior, edges, matches, seed, num_workers)
    starts = [voted]
    if num_voters < _ENOUGH_VOTERS:
        unknown = (prior.spread == UNKNOWN_SPREAD) & prior.is_free
        starts += [np.where(unknown, np.log(scale), voted) for scale in _SCAN_OF_SIDE if unknown.any()]
    best, best_support = list(start), -np.inf
    for scales in starts:
        lenses = [
            lens if lens.is_known else replace(lens, focal=float(np.exp(scales[group])) * max(lens.size))
            for lens, group in zip(start, group_of, strict=True)
        ]
        pairs, _ = _posed(edges, matches, lenses, seed, num_workers)
        lenses = _adjust(pairs, lenses, group_of, prior)
        pairs, support = _posed(edges, matches, lenses, seed, num_workers)
        support -= 0.5 * float((prior.deviation(lenses, group_of) ** 2).sum()) / _DATA_WEIGHT
        if support > best_support:
            best, best_support = _adjust(pairs, lenses, group_of, prior), support
    return best


def _informative_pairs(matches: Mapping[Edge, CalibratedMatches]) -> list[Edge]:
    """The pairs with the most matches, a few for each image."""
    per_image: dict[int, list[tuple[int, Edge]]] = {}
    for edge, points in matches.items():
        if len(points) >= MIN_VOTERS:
            for image in edge:
                per_image.setdefault(image, []).append((-len(points), edge))
    return sorted({edge for ranked in per_image.values() for _, edge in sorted(ranked)[:_PAIRS_PER_IMAGE]})


def _posed(
    edges: Sequence[Edge],
    matches: Mapping[Edge, CalibratedMatches],
    lenses: Sequence[Lens],
    seed: int,
    num_workers: int,
) -> tuple[list[_Pair], float]:
    """Pose the pairs at the present lenses as their triplets agree, and choose the points that adjust them.

    Returns:
        The pairs, and the sum of all pairs' best scores: how well the matches bear these lenses.
    """

    def pose(edge: Edge) -> list[PosedPair]:
        hypotheses = estimate_poses(matches[edge], lenses[edge[0]], lenses[edge[1]], seed)
        return [hypothesis for hypothesis in hypotheses if hypothesis.usable]

    hypotheses = dict(zip(edges, map_ordered(pose, edges, num_workers), strict=True))
    # All pairs bear witness, also those the triplets doubt: a wrong lens must not win by what it lets close.
    support = float(sum(max(each.score for each in found) for found in hypotheses.values() if found))
    pairs = []
    for edge, choice in choose(hypotheses, seed).items():
        if choice.belief > MIN_BELIEF:
            pose12 = hypotheses[edge][choice.index].cam2_from_cam1
            distances = sampson_distances(pose12, RayPairs.of(matches[edge], lenses[edge[0]], lenses[edge[1]]))
            near = np.flatnonzero(np.abs(distances) < 3 * MAX_ERROR_NETWORK_PX)
            near = near[np.linspace(0, len(near) - 1, min(len(near), _MAX_POINTS)).astype(int)]
            pairs.append(_Pair(edge[0], edge[1], matches[edge].subset(near), pose12))
    return pairs, support


def _adjust(pairs: Sequence[_Pair], lenses: Sequence[Lens], group_of: Groups, prior: Prior) -> list[Lens]:
    """Levenberg-Marquardt over the groups' (log focal, radial) with every pair's pose eliminated."""
    num_groups = len(prior.mean)
    lenses = list(lenses)
    free = np.flatnonzero(np.tile(prior.is_free, 2))
    damping = 1e-3
    cost = _cost(pairs, lenses, group_of, prior)
    for _ in range(_NUM_STEPS):
        normal, gradient = prior.system(lenses, group_of)
        eliminated = []
        for pair in pairs:
            here = _linearize(pair, lenses)
            weighted = here[1].T * (robust_weights(here[0]) * _DATA_WEIGHT / NOISE_NETWORK_PX**2)
            hessian, slope = weighted @ here[1], weighted @ here[0]
            hessian[np.diag_indices(NUM_POSE)] *= 1 + damping
            hessian[np.diag_indices(NUM_POSE)] += 1e-9
            inverse = np.linalg.inv(hessian[:NUM_POSE, :NUM_POSE])
            cross = hessian[:NUM_POSE, NUM_POSE:]
            first, second = group_of[pair.image1], group_of[pair.image2]
            where = np.array([first, second, num_groups + first, num_groups + second])
            np.add.at(normal, (where[:, None], where[None]), hessian[NUM_POSE:, NUM_POSE:] - cross.T @ inverse @ cross)
            np.add.at(gradient, where, slope[NUM_POSE:] - cross.T @ inverse @ slope[:NUM_POSE])
            eliminated.append((where, inverse, cross, slope[:NUM_POSE]))
        normal[np.diag_indices(len(normal))] *= 1 + damping
        step = np.zeros(len(normal))
        step[free] = -np.linalg.solve(normal[np.ix_(free, free)], gradient[free])
        step = np.clip(step, -_MAX_STEP, _MAX_STEP)
        new_lenses = [
            lens
            if lens.is_known
            else replace(
                lens,
                focal=lens.focal * float(np.exp(step[group])),
                radial=lens.radial + float(step[num_groups + group]),
            )
            for lens, group in zip(lenses, group_of, strict=True)
        ]
        new_pairs = [
            replace(pair, cam2_from_cam1=move(pair.cam2_from_cam1, -inverse @ (slope + cross @ step[where])))
            for pair, (where, inverse, cross, slope) in zip(pairs, eliminated, strict=True)
        ]
        new_cost = _cost(new_pairs, new_lenses, group_of, prior)
        gain = cost - new_cost
        if gain > 0:
            pairs, lenses, cost = new_pairs, new_lenses, new_cost
            damping = max(damping / 10, 1e-9)
        else:
            damping *= 10
        if abs(gain) < 1e-5 * cost:
            break
    return lenses


def _linearize(pair: _Pair, lenses: Sequence[Lens]) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, "m 9"]]:
    """Distances of a pair and their derivatives by pose (5), log focal 1 and 2, radial 1 and 2."""
    lens1, lens2 = lenses[pair.image1], lenses[pair.image2]
    here = linearize(pair.cam2_from_cam1, RayPairs.of(pair.points, lens1, lens2))
    by_log_focal1, by_radial1 = lens1.normalize_derivatives(pair.points.xy1)
    by_log_focal2, by_radial2 = lens2.normalize_derivatives(pair.points.xy2)
    columns = [
        (here.by_ray1 * by_log_focal1).sum(1) + here.by_focal1,
        (here.by_ray2 * by_log_focal2).sum(1) + here.by_focal2,
        (here.by_ray1 * by_radial1).sum(1),
        (here.by_ray2 * by_radial2).sum(1),
    ]
    return here.distances, np.concatenate([here.by_pose, np.stack(columns, axis=1)], axis=1)


def _cost(pairs: Sequence[_Pair], lenses: Sequence[Lens], group_of: Groups, prior: Prior) -> float:
    from_pairs = sum(
        robust_cost(
            sampson_distances(pair.cam2_from_cam1, RayPairs.of(pair.points, lenses[pair.image1], lenses[pair.image2]))
        )
        for pair in pairs
    )
    return _DATA_WEIGHT / NOISE_NETWORK_PX**2 * from_pairs + 0.5 * float((prior.deviation(lenses, group_of) ** 2).sum())
