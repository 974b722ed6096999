"""Correspondences of queries with images of the map: by SIFT keypoints, or by a predictor's pairs of pointmaps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dust3r_sfm.localization.cache import ImageCache
from dust3r_sfm.localization.reference import Reference
from dust3r_sfm.matching.mutual import raw_from_network
from dust3r_sfm.matching.pair import match_pair
from dust3r_sfm.options import MatchOptions
from dust3r_sfm.pairs.graph import pair_graph
from dust3r_sfm.predictors.classical.sift import Keypoints, find_keypoints, match_keypoints
from dust3r_sfm.predictors.predictor import PairPredictor, StoresFeatures, predictor_mark
from dust3r_sfm.system.parallel import map_ordered, num_cores
from dust3r_sfm.types import Edge, ImageSet, Matches, PairPrediction, View

_IMAGES_IN_MEMORY = 2000
"""Keypoints of that many images take about 1 GB. Chosen by hand."""

Pair = tuple[int, int]
"""(query, image of the map)."""


@runtime_checkable
class Matcher(Protocol):
    """Finds where queries and images of the map show the same."""

    def match(self, queries: Sequence[View], pairs: Sequence[Pair]) -> list[Matches]:
        """Match pairs of indices into `queries` and the map's images.

        Returns:
            One `Matches` a pair, in its order: `xy1` in the query, `xy2` in the image of the map, raw pixels.
        """
        ...


class KeypointStore:
    """SIFT keypoints of photographs: those of the map's images are kept on disk, all of them in memory for a while."""

    def __init__(self, reference: Reference, cache: Path | None, num_workers: int = 0) -> None:
        self._reference = reference
        self._cache = ImageCache(cache, "sift 1")
        self.num_workers = num_cores(num_workers)
        self._of_image = lru_cache(_IMAGES_IN_MEMORY)(self._read_or_find)
        self._queries: dict[Path, Keypoints] = {}

    def image(self, index: int) -> Keypoints:
        """The keypoints of an image of the map."""
        keypoints: Keypoints = self._of_image(index)
        return keypoints

    def images(self, step: Callable[[int, int], None] = lambda done, total: None) -> list[Keypoints]:
        """The keypoints of all images of the map."""
        total, keypoint_sets = len(self._reference.views), []
        for keypoints in map_ordered(self.image, range(total), self.num_workers):
            keypoint_sets.append(keypoints)
            step(len(keypoint_sets), total)
        return keypoint_sets

    def query(self, view: View) -> Keypoints:
        """The keypoints of a query."""
        keypoints = self._queries.get(view.path)
        if keypoints is None:
            keypoints = self._queries[view.path] = find_keypoints(view)
        return keypoints

    def forget_queries(self) -> None:
        """Let go of the queries' keypoints."""
        self._queries.clear()

    def _read_or_find(self, index: int) -> Keypoints:
        view = self._reference.views[index]
        arrays = self._cache.read(view)
        if arrays is not None:
            return Keypoints(xy=arrays["xy"], descriptors=arrays["descriptors"])
        keypoints = find_keypoints(view)
        self._cache.write(view, {"xy": keypoints.xy, "descriptors": keypoints.descriptors})
        return keypoints


class KeypointMatcher:
    """SIFT keypoints with the ratio test: what the classical predictor starts from, and sub-pixel."""

    def __init__(self, reference: Reference, store: KeypointStore) -> None:
        self._reference = reference
        self._store = store

    def match(self, queries: Sequence[View], pairs: Sequence[Pair]) -> list[Matches]:
        """See `Matcher`."""
        return list(map_ordered(lambda pair: self._match(queries, pair), pairs, self._store.num_workers))

    def _match(self, queries: Sequence[View], pair: Pair) -> Matches:
        view, other = queries[pair[0]], self._reference.views[pair[1]]
        keypoints, others = self._store.query(view), self._store.image(pair[1])
        index = match_keypoints(keypoints, others)
        return Matches(
            image1=pair[0],
            image2=pair[1],
            xy1=raw_from_network(keypoints.xy[index[:, 0]], view),
            xy2=raw_from_network(others.xy[index[:, 1]], other),
            confidence=np.ones(len(index)),
        )


@dataclass(frozen=True, kw_only=True)
class PredictedPair:
    """Both predictions of a query with an image of the map.

    Attributes:
        pair: their indices.
        forward: in the query's frame, the query first.
        backward: in the frame of the map's image, that image first.
    """

    pair: Pair
    forward: PairPrediction
    backward: PairPrediction


class PointmapMatcher:
    """Mutual nearest neighbours in 3-D, or of descriptors, between the pointmaps of a predictor.

    Args:
        reference: the map.
        predictor: any predictor; features that it can store are kept on disk for the map's images.
        cache: folder for those.
        options: of the matching.
    """

    def __init__(
        self, reference: Reference, predictor: PairPredictor, cache: Path | None, options: MatchOptions | None = None
    ) -> None:
        self._reference = reference
        self._predictor = predictor
        self._folder = cache
        self._options = options or MatchOptions()

    @cached_property
    def _cache(self) -> ImageCache:
        return ImageCache(self._folder, predictor_mark(self._predictor))

    def match(self, queries: Sequence[View], pairs: Sequence[Pair]) -> list[Matches]:
        """See `Matcher`."""
        matches = {}
        for predicted in self.predict(queries, pairs):
            query, image = predicted.pair
            views = queries[query], self._reference.views[image]
            matches[predicted.pair] = match_pair(
                predicted.forward, predicted.backward, views, predicted.pair, self._options
            )
        return [matches[pair] for pair in pairs]

    def predict(self, queries: Sequence[View], pairs: Sequence[Pair]) -> Iterator[PredictedPair]:
        """Predict both directions of each pair."""
        used = sorted({image for _, image in pairs})
        node_of = {image: node for node, image in enumerate(used)}
        views = [replace(self._reference.views[image], camera_group=0) for image in used]
        taken = set(self._reference.names)
        views += [
            # A query may share its name with a photograph of the map, or be one.
            replace(view, name=f"{number}:{view.name}" if view.name in taken else view.name, camera_group=1 + number)
            for number, view in enumerate(queries)
        ]
        edges: list[Edge] = []
        for query, image in pairs:
            edges += [(len(used) + query, node_of[image]), (node_of[image], len(used) + query)]
        if not edges:
            return
        graph = pair_graph(len(views), np.array(edges[1::2], dtype=np.int64))
        self._predictor.prepare(ImageSet(root=self._reference.views[0].path.parent, views=tuple(views)), graph)
        features = self._encode(views, len(used))
        waiting: dict[Edge, PairPrediction] = {}
        for (first, second), prediction in self._predictor.predict(features, edges):
            other = waiting.pop((second, first), None)
            if other is None:
                waiting[first, second] = prediction
                continue
            forward, backward = (prediction, other) if first >= len(used) else (other, prediction)
            query, node = max(first, second) - len(used), min(first, second)
            yield PredictedPair(pair=(query, used[node]), forward=forward, backward=backward)

    def _encode(self, views: Sequence[View], num_images: int) -> dict[int, Any]:
        """Features of all views; those of the map's images come from the disk where they can be stored."""
        predictor = self._predictor
        features: dict[int, Any] = {}
        if isinstance(predictor, StoresFeatures):
            for node in range(num_images):
                arrays = self._cache.read(views[node])
                if arrays is not None:
                    features[node] = predictor.unpack(arrays, views[node])
        missing = [node for node in range(len(views)) if node not in features]
        features.update(zip(missing, predictor.encode([views[node] for node in missing]), strict=True))
        if isinstance(predictor, StoresFeatures):
            for node in missing:
                if node < num_images:
                    packed = predictor.pack(features[node])
                    self._cache.write(views[node], packed)
                    # What memory keeps is what the disk gives back, so that results do not depend on what was there.
                    features[node] = predictor.unpack(packed, views[node])
        return features
