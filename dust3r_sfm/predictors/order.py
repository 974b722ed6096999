"""In which order pairs are walked and how they are split, so that few photographs are encoded and kept at a time."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from jaxtyping import Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

from dust3r_sfm.types import Edge

_CURVE_BITS = 24
"""Bits of either coordinate along the curve. Chosen by hand."""


def blocks(edges: Sequence[Edge], num_images: int, max_encoded: int) -> Iterator[list[Edge]]:
    """Split directed edges so that a block needs at most `max_encoded` photographs (or 2), mostly those of the last."""
    if len({image for edge in edges for image in edge}) <= max_encoded:
        yield list(edges)
        return
    rank = _ranks(edges, num_images)

    def tile(edge: Edge) -> tuple[int, int]:
        first, second = sorted(int(rank[image]) // max(1, max_encoded // 2) for image in edge)
        return first, second

    for _, block in groupby(sorted(edges, key=lambda edge: (tile(edge), min(edge), max(edge), edge)), key=tile):
        yield list(block)


def split_pairs(pairs: Sequence[Edge], num_images: int, count: int) -> list[list[Edge]]:
    """Split unordered pairs into `count` parts of equal size (within 1), each of few photographs.

    The pairs follow a Z-order curve (Morton 1966) over the matrix of connected photographs, so that every stretch of
    them is compact in both. The parts depend on nothing but the arguments, and are sorted.
    """
    if not pairs:
        return [[] for _ in range(count)]
    # Scaled to a power of two, at which the curve halves the matrix evenly.
    place = (_ranks(pairs, num_images) << _CURVE_BITS) // num_images
    low, high = np.sort(place[np.array(pairs)], axis=1).T
    bits = np.arange(_CURVE_BITS)
    z_order = (((low[:, None] >> bits & 1) << 2 * bits + 1) | ((high[:, None] >> bits & 1) << 2 * bits)).sum(1)
    return [
        sorted(pairs[k] for k in part.tolist()) for part in np.array_split(np.argsort(z_order, kind="stable"), count)
    ]


def _ranks(edges: Sequence[Edge], num_images: int) -> Int64[np.ndarray, " n"]:
    """A place in line for each photograph."""
    # Connected photographs come close together, so that few tiles of the matrix of pairs hold any.
    i, j = np.array(edges).T
    adjacency = coo_array((np.ones(2 * len(i)), (np.r_[i, j], np.r_[j, i])), shape=(num_images, num_images)).tocsr()
    return np.argsort(reverse_cuthill_mckee(adjacency, symmetric_mode=True)).astype(np.int64)
