"""Correspondences by a matcher of local features, for queries that SIFT leaves in doubt."""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

from dust3r_sfm.features.features import Features
from dust3r_sfm.features.matcher import FeatureMatcher, matcher_facts
from dust3r_sfm.localization.cache import ImageCache
from dust3r_sfm.localization.correspond import Pair
from dust3r_sfm.localization.reference import Reference
from dust3r_sfm.types import Matches, View

_IMAGES_IN_MEMORY = 2000
"""Features of that many images take about 1 GB. Chosen by hand."""

_SMALL_NETWORK_PX = (320, 640)
"""Longer sides at which a small query and the photographs of the map are compared, the first that holds the query:
learned features bear little difference in scale. Chosen by hand."""


class FeaturePairs:
    """Matches queries with images of the map; the features of the map's images are kept on disk.

    Args:
        reference: the map.
        matcher: finds and matches; it is loaded when it is first needed.
        cache: folder for the features of the map's images; None keeps them in memory alone.
    """

    def __init__(self, reference: Reference, matcher: FeatureMatcher, cache: Path | None) -> None:
        self._reference = reference
        self._matcher = matcher
        self._folder = cache
        self._of_image = lru_cache(_IMAGES_IN_MEMORY)(self._read_or_find)
        self._queries: dict[Path, Features] = {}

    def match(self, queries: Sequence[View], pairs: Sequence[Pair]) -> list[Matches]:
        """See `correspond.Matcher`."""
        return [self._match(queries[query], query, image) for query, image in pairs]

    def forget_queries(self) -> None:
        """Let go of the queries' features."""
        self._queries.clear()

    def _match(self, view: View, query: int, image: int) -> Matches:
        long_side = next((side for side in _SMALL_NETWORK_PX if max(view.size) <= side), None)
        features = self._queries.get(view.path)
        if features is None:
            features = self._queries[view.path] = self._matcher.extract(view, long_side)
        others: Features = self._of_image(image, long_side)
        rows, scores = self._matcher.match(features, others, view, self._reference.views[image])
        xy1, xy2 = features.xy[rows[:, 0]], others.xy[rows[:, 1]]
        return Matches(image1=query, image2=image, xy1=xy1, xy2=xy2, confidence=scores)

    @cached_property
    def _name(self) -> str:
        facts = matcher_facts(self._matcher)
        return " ".join([facts["name"], *facts["sha256"].values()])

    def _read_or_find(self, image: int, long_side: int | None) -> Features:
        view, cache = self._reference.views[image], ImageCache(self._folder, f"{self._name} {long_side}")
        arrays = cache.read(view)
        if arrays is not None:
            return Features(xy=arrays["xy"], descriptors=arrays["descriptors"], scores=arrays["scores"])
        found = self._matcher.extract(view, long_side)
        cache.write(view, {"xy": found.xy, "descriptors": found.descriptors, "scores": found.scores})
        return found
