"""Pairs that bring new images into a model."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float32

from dust3r_sfm.pairs.graph import pair_graph
from dust3r_sfm.pairs.select import MAX_EXHAUSTIVE, pairs_exhaustive, pairs_from_retrieval
from dust3r_sfm.types import PairGraph


def pairs_with_new(
    is_new: Bool[np.ndarray, " n"], num_retrieved: int, describe: Callable[[], Float32[np.ndarray, "n d"]]
) -> PairGraph:
    """Pair the new images with those that resemble them, and the old ones among these with each other.

    The pairs of old images bring the model's scale: an image that is seen from one place alone would have a direction
    but no distance. Small sets get all pairs.

    Args:
        is_new: which images are new.
        num_retrieved: neighbours that each image chooses.
        describe: gives one global descriptor per image; called for large sets only.
    """
    if len(is_new) <= MAX_EXHAUSTIVE:
        return pairs_exhaustive(len(is_new))
    descriptors = describe()
    graph = pairs_from_retrieval(descriptors, num_retrieved)
    with_new = graph.edges[is_new[graph.edges].any(axis=1)]
    near = np.unique(with_new)
    old = near[~is_new[near]]
    among = pairs_from_retrieval(descriptors[old], max(1, num_retrieved // 2))
    return pair_graph(len(is_new), np.concatenate([with_new, old[among.edges]]))
