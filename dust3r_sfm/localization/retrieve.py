"""Which images of the map a query is compared with: a file's choice, or the most similar global descriptors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from dust3r_sfm.localization.correspond import KeypointStore
from dust3r_sfm.localization.reference import Reference
from dust3r_sfm.predictors.classical.describe import Vocabulary
from dust3r_sfm.predictors.predictor import PairPredictor
from dust3r_sfm.system.parallel import map_ordered
from dust3r_sfm.types import View


@runtime_checkable
class Retrieval(Protocol):
    """Ranks the map's images for queries."""

    def rank(self, queries: Sequence[View], num_loc: int) -> list[list[int]]:
        """Return, per query, the indices of at most `num_loc` images of the map, best first; possibly none."""
        ...


class ListedRetrieval:
    """The images that a pairs file names, in its order.

    Args:
        listed: indices of the map's images by query name; see `hloc_files.read_retrieval`.
    """

    def __init__(self, listed: Mapping[str, Sequence[int]]) -> None:
        self._listed = listed

    def rank(self, queries: Sequence[View], num_loc: int) -> list[list[int]]:
        """See `Retrieval`."""
        return [list(self._listed.get(view.name, ()))[:num_loc] for view in queries]


class DescriptorRetrieval:
    """The images whose global descriptors have the largest cosine with the query's; equal ones in the map's order.

    Args:
        images: descriptors of the map's images.
        describe: gives those of queries, comparable with `images`.
    """

    def __init__(
        self,
        images: Float32[np.ndarray, "n d"],
        describe: Callable[[Sequence[View]], Float32[np.ndarray, "q d"]],
    ) -> None:
        self._images = _unit(images)
        self._describe = describe

    def rank(self, queries: Sequence[View], num_loc: int) -> list[list[int]]:
        """See `Retrieval`."""
        if not queries:
            return []
        similarity = _unit(self._describe(queries)) @ self._images.T
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :num_loc]
        return [[int(index) for index in row] for row in order]


def predictor_retrieval(
    reference: Reference,
    predictor: PairPredictor,
    store: KeypointStore,
    seed: int,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> DescriptorRetrieval:
    """Retrieve by the predictor's own descriptors or, where it has none that outlast a call, by the embedded ones.

    The embedded descriptors aggregate SIFT over a vocabulary that is learned on the map's images alone, so that queries
    are compared with a map that never changes.
    """
    if predictor.name != "classical":
        images = predictor.describe(reference.views)
        if images is not None:
            return DescriptorRetrieval(images, lambda views: _described(predictor, views))
    keypoints = store.images(step)
    vocabulary = Vocabulary.learn(keypoints, seed)

    def describe(views: Sequence[View]) -> Float32[np.ndarray, "q d"]:
        return vocabulary.describe(list(map_ordered(store.query, views, store.num_workers)))

    return DescriptorRetrieval(vocabulary.describe(keypoints), describe)


def _described(predictor: PairPredictor, views: Sequence[View]) -> Float32[np.ndarray, "q d"]:
    described = predictor.describe(views)
    assert described is not None, "a predictor that describes the map describes queries"
    return described


def _unit(descriptors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    finite = np.where(np.isfinite(descriptors).all(axis=1, keepdims=True), descriptors, 0.0).astype(np.float32)
    unit: Float32[np.ndarray, "n d"] = finite / np.maximum(np.linalg.norm(finite, axis=1, keepdims=True), 1e-12)
    return unit
