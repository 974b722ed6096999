"""Matches of any two photographs, whatever finds them: the seam between registration and features."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.features.features import Features
from dust3r_sfm.features.verified import verified_matches
from dust3r_sfm.system.parallel import num_cores
from dust3r_sfm.types import Edge, Matches

_NUM_TELLING = 512
"""Keypoints of an image that are compared to tell how much two photographs are alike; chosen by hand."""

_MAX_ANYWHERE = 8_192
"""Keypoints of an image that are compared with all of another, those with the highest scores; chosen by hand."""

_CLEAR_MATCHES = 70
"""Matches that agree from which no dearer matcher is asked; that of the classical predictor's pairs."""

_CLEAR_RATIO = 0.8
"""Largest angle between two descriptors over that to the second nearest (COLMAP's default)."""


@runtime_checkable
class PairMatcher(Protocol):
    """Finds matches anywhere in two photographs; photographs are known by their index in the image set."""

    def __call__(self, image1: int, image2: int) -> Matches:
        """Return matches that one epipolar geometry explains, in raw pixels; none where there are too few."""
        ...

    def likeness(self, image: int, others: Sequence[int]) -> Float64[np.ndarray, " k"]:
        """Say cheaply how much a photograph is like others, larger for more."""
        ...


class KeypointMatcher:
    """By local features: descriptors that are clearly nearest, and LO-RANSAC.

    Args:
        features: of every image.
        seed: of the sampling.
    """

    def __init__(self, features: Sequence[Features], seed: int = 0) -> None:
        self._features = features
        self._seed = seed
        self._telling: dict[int, np.ndarray] = {}

    def __call__(self, image1: int, image2: int) -> Matches:
        """See `PairMatcher`."""
        first, second = (_telling(self._features[image], _MAX_ANYWHERE) for image in (image1, image2))
        seed = self._seed + image1 * len(self._features) + image2
        rows, similarity = verified_matches(first, second, seed)
        return Matches(
            image1=image1, image2=image2, xy1=first.xy[rows[:, 0]], xy2=second.xy[rows[:, 1]], confidence=similarity
        )

    def likeness(self, image: int, others: Sequence[int]) -> Float64[np.ndarray, " k"]:
        """Number of the most telling keypoints whose nearest descriptor is clearly so."""
        own = self._of(image)
        counts = np.zeros(len(others))
        for position, other in enumerate(others):
            theirs = self._of(other)
            if len(own) == 0 or len(theirs) < 2:
                continue
            two = -np.partition(-(own @ theirs.T), 1, axis=1)[:, :2]
            nearest, second = np.arccos(np.clip(two, -1.0, 1.0)).T
            counts[position] = (nearest < _CLEAR_RATIO * second).sum()
        return counts

    def _of(self, image: int) -> np.ndarray:
        if image not in self._telling:
            self._telling[image] = _telling(self._features[image], _NUM_TELLING).unit_descriptors()
        return self._telling[image]


def _telling(features: Features, most: int) -> Features:
    """The keypoints with the highest scores, in their order."""
    if len(features.xy) <= most:
        return features
    return features.of(np.sort(np.argsort(features.scores, kind="stable")[-most:]))


class GivenMatcher:
    """By matches that somebody else found.

    Args:
        matches: of any pairs.
    """

    def __init__(self, matches: Iterable[Matches]) -> None:
        self._matches: dict[Edge, Matches] = {}
        for pair in matches:
            found = pair if pair.image1 < pair.image2 else pair.turned()
            self._matches[found.image1, found.image2] = found

    def __call__(self, image1: int, image2: int) -> Matches:
        """See `PairMatcher`."""
        found = self._matches.get((min(image1, image2), max(image1, image2)))
        if found is None:
            nothing = np.zeros((0, 2))
            return Matches(image1=image1, image2=image2, xy1=nothing, xy2=nothing, confidence=np.zeros(0))
        return found if image1 < image2 else found.turned()

    def likeness(self, image: int, others: Sequence[int]) -> Float64[np.ndarray, " k"]:
        """Number of matches."""
        return np.array([float(len(self(image, other).xy1)) for other in others])


class FirstOf:
    """The first of several matchers that is clear about a pair, else the one that finds most; the dearest comes last.

    Args:
        matchers: at least one; the last says how much photographs are alike.
    """

    def __init__(self, matchers: Sequence[PairMatcher]) -> None:
        self._matchers = matchers

    def __call__(self, image1: int, image2: int) -> Matches:
        """See `PairMatcher`."""
        best: Matches | None = None
        for match in self._matchers:
            found = match(image1, image2)
            if best is None or len(found.xy1) > len(best.xy1):
                best = found
            if len(best.xy1) >= _CLEAR_MATCHES:
                break
        assert best is not None, "there is a matcher"
        return best

    def likeness(self, image: int, others: Sequence[int]) -> Float64[np.ndarray, " k"]:
        """That of the last."""
        return self._matchers[-1].likeness(image, others)


class Remembered:
    """A matcher that is asked once about each pair.

    Args:
        match: finds the matches.
    """

    def __init__(self, match: PairMatcher) -> None:
        self._match = match
        self._found: dict[Edge, Matches] = {}
        self._likeness: dict[Edge, float] = {}

    def __call__(self, image1: int, image2: int) -> Matches:
        """See `PairMatcher`."""
        self.look([(image1, image2)])
        found = self._found[min(image1, image2), max(image1, image2)]
        return found if image1 < image2 else found.turned()

    def likeness(self, image: int, others: Sequence[int]) -> Float64[np.ndarray, " k"]:
        """See `PairMatcher`."""
        new = [other for other in others if (image, other) not in self._likeness]
        for other, value in zip(new, self._match.likeness(image, new).tolist(), strict=True):
            self._likeness[image, other] = value
        return np.array([self._likeness[image, other] for other in others])

    def look(self, pairs: Iterable[Edge]) -> None:
        """Match pairs in threads; the result does not depend on their number."""
        asked = dict.fromkeys((min(pair), max(pair)) for pair in pairs)
        wanted = [pair for pair in asked if pair not in self._found]
        with ThreadPoolExecutor(num_cores()) as pool:
            for pair, matches in zip(wanted, pool.map(lambda pair: self._match(*pair), wanted), strict=True):
                self._found[pair] = matches
