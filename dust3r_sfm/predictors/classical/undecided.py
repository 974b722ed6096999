"""Pairs that SIFT leaves undecided are asked of a learned matcher, as far as the graph of pairs needs them.

SIFT is cheap and exact where photographs are alike; learned matches bear wide baselines, other seasons and other
cameras, and cost far more. So what SIFT decides stays. Groups of photographs that it does not join are
joined first, then photographs with few decided pairs get more.
"""

import logging
from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np
from jaxtyping import Bool, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dust3r_sfm.features.matched import MatchedFeatures
from dust3r_sfm.geometry.epipolar import sampson_error
from dust3r_sfm.geometry.grid import network_from_raw
from dust3r_sfm.predictors.classical.pose import ransac_options
from dust3r_sfm.predictors.classical.sampson import CalibratedMatches
from dust3r_sfm.system.parallel import map_ordered
from dust3r_sfm.types import Edge

logger = logging.getLogger("dust3r_sfm")

_CLEAR_INLIERS = 70
"""Matches of one epipolar geometry from which a pair is decided: chosen by hand, looking at the pairs of fox,
Sacré-Cœur and the tower."""

_MAX_EPIPOLAR_NETWORK_PX = 2.0
"""Distance of such a match from its epipolar line, network pixels; chosen by hand."""

_ENOUGH_PAIRS = 4
"""Decided pairs that an image should have; chosen by hand."""

_TRIES_PER_IMAGE, _TRIES_PER_BRIDGE, _MAX_ROUNDS = 4, 8, 3
"""Pairs of an image, and between two groups, that are asked in a round, and rounds; chosen by hand."""

_MIN_MATCHES = 8
"""Matches that define epipolar lines."""

Matches = Mapping[Edge, CalibratedMatches]


def with_learned(
    matches: Matches, learned: MatchedFeatures, seed: int, num_workers: int
) -> dict[Edge, CalibratedMatches]:
    """Put learned matches in the place of those that decide nothing.

    Args:
        matches: SIFT's of every pair (i, j), i < j, network pixels.
        learned: the matcher and its photographs.
        seed: of the robust estimators.
        num_workers: threads.

    Returns:
        Matches of the same pairs.
    """
    decided = _decided(matches, seed, num_workers)
    result, asked = dict(matches), set[Edge]()
    for _ in range(_MAX_ROUNDS):
        wanted = _wanted(matches, decided, asked, len(learned.views))
        if not wanted:
            break
        asked.update(wanted)
        logger.info("SIFT leaves %d pairs undecided; %s is asked about them", len(wanted), learned.matcher.name)
        found = {edge: _network(learned, edge, rows) for edge, (rows, _) in learned.match(wanted).items()}
        answers = {edge: _together(found[edge], matches[edge], seed) for edge in wanted}
        result.update(answers)
        decided |= _decided(answers, seed, num_workers)
    return result


def _decided(matches: Matches, seed: int, num_workers: int) -> set[Edge]:
    """Pairs of which one epipolar geometry explains enough matches."""
    counts = map_ordered(lambda edge: _on_lines(matches[edge], matches[edge], seed).sum(), matches, num_workers)
    return {edge for edge, count in zip(matches, counts, strict=True) if count >= _CLEAR_INLIERS}


def _on_lines(points: CalibratedMatches, of: CalibratedMatches, seed: int) -> Bool[np.ndarray, " m"]:
    """Which matches lie on the epipolar lines that others define (LO-RANSAC of pycolmap); none without lines."""
    from dust3r_sfm.system._pycolmap import pycolmap

    options = ransac_options(_MAX_EPIPOLAR_NETWORK_PX, seed)
    estimate = pycolmap.estimate_fundamental_matrix(of.xy1, of.xy2, options) if len(of) >= _MIN_MATCHES else None
    if estimate is None:
        return np.zeros(len(points), bool)
    if points is of:
        return np.asarray(estimate["inlier_mask"], bool)
    return sampson_error(estimate["F"], points.xy1, points.xy2) < _MAX_EPIPOLAR_NETWORK_PX


def _wanted(matches: Matches, decided: Collection[Edge], asked: Collection[Edge], num_images: int) -> list[Edge]:
    """Pairs to ask in a round, most promising first."""
    group = _groups(decided, num_images)
    num_decided = np.bincount(np.array(list(decided), np.int64).reshape(-1), minlength=num_images)
    tries: Counter[object] = Counter()
    wanted = []
    candidates = [edge for edge in matches if edge not in decided and edge not in asked]
    for i, j in sorted(candidates, key=lambda edge: (group[edge[0]] == group[edge[1]], -len(matches[edge]), edge)):
        joined = group[i] != group[j]
        bridge = (min(group[i], group[j]), max(group[i], group[j]))
        needy = [image for image in (i, j) if joined or num_decided[image] < _ENOUGH_PAIRS]
        if (joined and tries[bridge] >= _TRIES_PER_BRIDGE) or all(tries[image] >= _TRIES_PER_IMAGE for image in needy):
            continue
        tries.update(needy)
        tries[bridge] += joined
        wanted.append((i, j))
    return wanted


def _groups(edges: Collection[Edge], num_images: int) -> Int64[np.ndarray, " n"]:
    """The group of each image that decided pairs join."""
    ends = np.array(list(edges), np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(num_images, num_images))
    groups: Int64[np.ndarray, " n"] = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def _network(learned: MatchedFeatures, edge: Edge, rows: Int64[np.ndarray, "m 2"]) -> CalibratedMatches:
    """Learned matches of a pair in network pixels."""
    features = learned.features(edge)
    xy1, xy2 = (
        network_from_raw(learned.views[image].network_from_image, features[image].xy[rows[:, side]])
        for side, image in enumerate(edge)
    )
    return CalibratedMatches(xy1=xy1, xy2=xy2)


def _together(learned: CalibratedMatches, sift: CalibratedMatches, seed: int) -> CalibratedMatches:
    """Learned matches, and those of SIFT that lie on the epipolar lines of the learned: few of the others are right."""
    return learned.joined(sift.subset(_on_lines(sift, learned, seed)))
