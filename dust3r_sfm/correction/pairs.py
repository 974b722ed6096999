"""Which photographs to match, when all that is known is roughly where they were taken."""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.geometry.transforms import centres
from dust3r_sfm.registration.matcher import PairMatcher
from dust3r_sfm.types import Edge

_ALL_IMAGES = 12
"""Up to so many photographs all pairs are matched; chosen by hand."""

_NUM_NEAR, _NUM_LIKE = 7, 4
"""Photographs that each is matched with beyond that: those whose cameras stand and look alike, and those of them that
look alike, as a camera may be quite wrong; chosen by hand."""

_SAME_VIEW_DEGREES = 30.0
"""Angle between two viewing directions that counts as much as the usual distance between two cameras; chosen by
hand."""


def pairs_to_match(
    cam_from_world: Float64[np.ndarray, "k 3 4"], images: Sequence[int], matcher: PairMatcher
) -> list[Edge]:
    """Pairs (i, j), i < j: all of few photographs, else of each those that are near and those that are alike.

    Args:
        cam_from_world: the rough poses.
        images: whose poses they are, in order.
        matcher: says how much two photographs are alike.
    """
    if len(images) <= _ALL_IMAGES:
        return list(itertools.combinations(images, 2))
    apart = _apart(cam_from_world)
    chosen: set[Edge] = set()
    for row, image in enumerate(images):
        near = [images[other] for other in np.argsort(apart[row], kind="stable").tolist() if other != row]
        others = [other for other in images if other != image]
        like = np.argsort(-matcher.likeness(image, others), kind="stable")[:_NUM_LIKE]
        partners = [*near[:_NUM_NEAR], *(others[position] for position in like.tolist())]
        chosen |= {(min(image, other), max(image, other)) for other in partners}
    return sorted(chosen)


def _apart(cam_from_world: Float64[np.ndarray, "n 3 4"]) -> Float64[np.ndarray, "n n"]:
    """How far apart cameras stand, in usual distances, and look, in angles that count as much."""
    places, axes = centres(cam_from_world), cam_from_world[:, 2, :3]
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
    usual = np.median(distance[np.triu_indices(len(places), 1)])
    angle = np.degrees(np.arccos(np.clip(axes @ axes.T, -1.0, 1.0)))
    apart: Float64[np.ndarray, "n n"] = distance / max(usual, 1e-12) + angle / _SAME_VIEW_DEGREES
    return apart
