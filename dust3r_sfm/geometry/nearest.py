"""Mutual nearest neighbours between two point clouds."""

from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, Integer
from scipy.spatial import cKDTree

_FEW_POINTS = 1000
"""Clouds this small are searched in double precision at once. Chosen by hand."""

_NEAR_TIE_OF_SQUARE = 1e-5
"""Squared distances that differ by a smaller share may have changed places by rounding to single precision. Chosen by
hand."""

_NUM_CANDIDATES = 4
"""Neighbours that are compared in double precision before a tree in double precision is worth its making. Chosen by
hand."""

_SINGLE_TREE = {"algorithm": 4, "leaf_max_size": 8, "dim": 3, "reorder": True}
"""FLANN's exact tree for few dimensions (FLANN_INDEX_KDTREE_SINGLE)."""


def mutual_nearest(
    points1: Float[np.ndarray, "n 3"],
    points2: Float[np.ndarray, "m 3"],
    queries1: Integer[np.ndarray, " q1"] | None = None,
    queries2: Integer[np.ndarray, " q2"] | None = None,
) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
    """Find the pairs of points that are each other's nearest neighbour among ALL points (exact).

    Without queries all mutual pairs are found. With queries, those whose first point is in `queries1` or whose second
    point is in `queries2`: the cost follows the number of queries, the answer stays that of the full sets. Points that
    are not finite are never matched.

    Args:
        points1, points2: the two clouds.
        queries1, queries2: indices to start from.

    Returns:
        (index1, index2) of the pairs, ordered by index1.
    """
    finite1, finite2 = np.flatnonzero(np.isfinite(points1).all(1)), np.flatnonzero(np.isfinite(points2).all(1))
    if not len(finite1) or not len(finite2):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    cloud1, cloud2 = _Cloud(points1[finite1]), _Cloud(points2[finite2])
    if queries1 is None and queries2 is None:
        first, second = _from_queries(cloud1, cloud2, np.arange(len(finite1)))
        return finite1[first].astype(np.int64), finite2[second].astype(np.int64)

    pairs = np.empty((0, 2), np.int64)
    if queries1 is not None:
        first, second = _from_queries(cloud1, cloud2, np.flatnonzero(np.isin(finite1, queries1)))
        pairs = np.stack([finite1[first], finite2[second]], axis=1)
    if queries2 is not None:
        second, first = _from_queries(cloud2, cloud1, np.flatnonzero(np.isin(finite2, queries2)))
        pairs = np.concatenate([pairs, np.stack([finite1[first], finite2[second]], axis=1)])
    pairs = np.unique(pairs, axis=0).astype(np.int64)
    return pairs[:, 0], pairs[:, 1]


class _Cloud:
    """A finite cloud to search in: quickly in single precision, and once more in double where that cannot decide."""

    def __init__(self, points: Float[np.ndarray, "n 3"]) -> None:
        self.points = np.ascontiguousarray(points)

    @cached_property
    def _single(self) -> Any:
        import cv2

        return cv2.flann.Index(self.points, _SINGLE_TREE)

    @cached_property
    def _double(self) -> cKDTree:
        # Pointmaps are pixel-ordered surfaces: unbalanced trees without compact nodes are several times faster.
        return cKDTree(self.points, balanced_tree=False, compact_nodes=False)

    def nearest(self, queries: Float[np.ndarray, "q 3"]) -> Int64[np.ndarray, " q"]:
        """Return the index of the point nearest to each query."""
        if len(self.points) < _FEW_POINTS or self.points.dtype != np.float32 or not len(queries):
            return np.asarray(self._double.query(queries)[1], np.int64)
        exhaustive = {"checks": -1, "eps": 0.0, "sorted": True}
        found, squares = self._single.knnSearch(queries, _NUM_CANDIDATES, params=exhaustive)
        nearest = np.asarray(found[:, 0], np.int64)
        farther = squares > (1 + _NEAR_TIE_OF_SQUARE) * squares[:, :1]
        close = np.flatnonzero(~farther[:, 1])
        offsets = self.points[found[close]].astype(np.float64) - queries[close, None]
        nearest[close] = found[close, (offsets**2).sum(axis=2).argmin(axis=1)]
        undecided = np.flatnonzero(~farther[:, -1])
        if len(undecided):
            nearest[undecided] = self._double.query(queries[undecided])[1]
        return nearest


def _from_queries(
    cloud: _Cloud, other: _Cloud, queries: Int64[np.ndarray, " q"]
) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
    """Keep the queries of `cloud` that are the nearest neighbour of their own nearest neighbour in `other`."""
    forward = other.nearest(cloud.points[queries])
    candidates, inverse = np.unique(forward, return_inverse=True)
    backward = cloud.nearest(other.points[candidates])[inverse]
    mutual = backward == queries
    return queries[mutual].astype(np.int64), forward[mutual].astype(np.int64)
