"""Matches of one pair by all that its predictions offer: descriptors first, points where those find nothing."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.matching.anchored import anchored_matches
from dust3r_sfm.matching.descriptors import Nearest, nearest
from dust3r_sfm.matching.mutual import mutual_matches
from dust3r_sfm.options import MatchOptions
from dust3r_sfm.types import Edge, Matches, PairPrediction, View


def match_pair(
    forward: PairPrediction,
    backward: PairPrediction | None,
    views: tuple[View, View],
    images: Edge,
    options: MatchOptions,
    search: Nearest = nearest,
) -> Matches:
    """Match a pair by its descriptors and, for keypoints that these leave without a match, by its points in 3-D.

    Descriptors go first: they were trained to match, points were not (Leroy et al. 2024, section 3.2). Both kinds start
    from the same anchors, so a track may hold both.

    Args:
        forward: prediction of the pair (1, 2).
        backward: that of (2, 1), or None; only descriptors make use of it.
        views: the photographs.
        images: their indices.
        options: lattice, number and confidence of matches.
        search: how neighbours of descriptors are found, see `descriptors.nearest_on`.

    Returns:
        Matches in raw original pixels; without descriptors those of `mutual_matches` alone.
    """
    by_points = mutual_matches(forward, *views, *images, options)
    if forward.descriptors1 is None:
        return by_points
    matches = anchored_matches(forward, backward, views, images, options, search)
    free = np.flatnonzero(~_among(by_points.xy1, matches.xy1) & ~_among(by_points.xy2, matches.xy2))
    room = max(0, options.max_matches - len(matches.xy1))
    if len(free) > room:
        free = free[np.linspace(0, len(free) - 1, room).astype(np.int64)]
    return replace(
        matches,
        xy1=np.concatenate([matches.xy1, by_points.xy1[free]]),
        xy2=np.concatenate([matches.xy2, by_points.xy2[free]]),
        confidence=np.concatenate([matches.confidence, by_points.confidence[free]]),
    )


def _among(xy: Float64[np.ndarray, "m 2"], others: Float64[np.ndarray, "k 2"]) -> Bool[np.ndarray, " m"]:
    """Whether each position is one of the others."""
    one, other = (np.ascontiguousarray(positions).view(np.complex128)[:, 0] for positions in (xy, others))
    return np.isin(one, other)
