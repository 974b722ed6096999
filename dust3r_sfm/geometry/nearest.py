"""Mutual nearest neighbours between two point clouds."""

import numpy as np
from jaxtyping import Float, Int64, Integer
from scipy.spatial import cKDTree


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
    # Pointmaps are pixel-ordered surfaces: unbalanced trees without compact nodes are several times faster to build.
    tree1 = cKDTree(points1[finite1], balanced_tree=False, compact_nodes=False)
    tree2 = cKDTree(points2[finite2], balanced_tree=False, compact_nodes=False)
    if queries1 is None and queries2 is None:
        first, second = _from_queries(tree1, tree2, np.arange(len(finite1)))
        return finite1[first].astype(np.int64), finite2[second].astype(np.int64)

    pairs = np.empty((0, 2), np.int64)
    if queries1 is not None:
        first, second = _from_queries(tree1, tree2, np.flatnonzero(np.isin(finite1, queries1)))
        pairs = np.stack([finite1[first], finite2[second]], axis=1)
    if queries2 is not None:
        second, first = _from_queries(tree2, tree1, np.flatnonzero(np.isin(finite2, queries2)))
        pairs = np.concatenate([pairs, np.stack([finite1[first], finite2[second]], axis=1)])
    pairs = np.unique(pairs, axis=0).astype(np.int64)
    return pairs[:, 0], pairs[:, 1]


def _from_queries(
    tree: cKDTree, other: cKDTree, queries: Int64[np.ndarray, " q"]
) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
    """Keep the queries of `tree` that are the nearest neighbour of their own nearest neighbour in `other`."""
    forward = other.query(tree.data[queries])[1]
    candidates, inverse = np.unique(forward, return_inverse=True)
    backward = tree.query(other.data[candidates])[1][inverse]
    mutual = backward == queries
    return queries[mutual].astype(np.int64), forward[mutual].astype(np.int64)
