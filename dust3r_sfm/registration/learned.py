"""Learned matches of any two photographs, kept where one epipolar geometry explains them."""

from collections.abc import Sequence
from threading import Lock

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.features.matched import MatchedFeatures
from dust3r_sfm.features.two_best import mutual_matches
from dust3r_sfm.features.verified import epipolar_inliers
from dust3r_sfm.types import Edge, Matches

_MIN_SIMILARITY = 0.6
"""Inner product of two descriptors from which they may be of one place; chosen by hand."""


class LearnedMatcher:
    """A `PairMatcher` that asks a network.

    Args:
        matched: the network's features and matches, as far as they are known.
        seed: of the sampling.
    """

    def __init__(self, matched: MatchedFeatures, seed: int = 0) -> None:
        self._matched, self._seed = matched, seed
        self._lock = Lock()  # files have one writer, and the network has threads of its own

    def __call__(self, image1: int, image2: int) -> Matches:
        """See `PairMatcher`."""
        low, high = sorted((image1, image2))
        with self._lock:
            found = self._verified((low, high))
        return found if image1 == low else found.turned()

    def known(self) -> list[Matches]:
        """The pairs that were matched before, those without enough that agree left out."""
        return [found for edge in self._matched.known() if len((found := self._verified(edge)).xy1)]

    def likeness(self, image: int, others: Sequence[int]) -> Float64[np.ndarray, " k"]:
        """Number of mutual nearest descriptors that are alike."""
        with self._lock:
            features = self._matched.features([image, *others])
        own = features[image].unit_descriptors()
        alike = (mutual_matches(own, features[other].unit_descriptors(), _MIN_SIMILARITY, 1.0)[0] for other in others)
        return np.array([float(len(rows)) for rows in alike])

    def _verified(self, edge: Edge) -> Matches:
        rows, scores = self._matched.match([edge])[edge]
        features = self._matched.features(edge)
        xy1, xy2 = (features[image].xy[rows[:, side]] for side, image in enumerate(edge))
        seed = self._seed + edge[0] * len(self._matched.views) + edge[1]
        kept = epipolar_inliers(xy1, xy2, seed)
        return Matches(image1=edge[0], image2=edge[1], xy1=xy1[kept], xy2=xy2[kept], confidence=scores[kept])
