"""The most similar neighbours of each image, out of a similarity that is never held as a whole."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.pairs.graph import component_labels, pair_graph
from dust3r_sfm.types import PairGraph

_ROWS_AT_A_TIME = 256
"""Images whose similarities to all others are in memory together. Chosen by hand."""
_RESOLUTION_OF_SIMILARITY = 1e-6
"""Similarities that differ by less are equal: another machine adds the same numbers up in another order. Chosen by
hand."""

SimilarityRows = Callable[[slice], Float64[np.ndarray, "rows n"]]


def nearest_neighbours(num_images: int, num_neighbours: int, similarity: SimilarityRows) -> PairGraph:
    """Pair each image with the most similar others, and join what stays apart by its most similar pairs.

    A pair is taken when either image chooses the other. Of equally similar images the one with the lower index wins.
    Components are joined as in Borůvka's algorithm, by the pairs of a maximum spanning tree.

    Args:
        num_images: number of images.
        num_neighbours: how many each image chooses.
        similarity: gives rows of the symmetric similarity matrix; higher is more similar.

    Returns:
        A connected graph; the weights are the similarities.
    """
    num_chosen = min(num_neighbours, num_images - 1)
    edges = np.empty((0, 2), dtype=np.int64)
    weights = np.empty(0)
    for images, values in _blocks(num_images, similarity) if num_chosen > 0 else ():
        # Keys without ties (similarity first, index second), so that a partition is as good as a stable sort.
        keys = np.arange(num_images) - np.rint(values / _RESOLUTION_OF_SIMILARITY).astype(np.int64) * num_images
        keys[np.arange(len(images)), images] = np.iinfo(np.int64).max
        others = np.argpartition(keys, num_chosen - 1, axis=1)[:, :num_chosen]
        edges = np.concatenate([edges, np.stack([np.repeat(images, num_chosen), others.reshape(-1)], axis=1)])
        weights = np.concatenate([weights, np.take_along_axis(values, others, axis=1).reshape(-1)])
    while (labels := component_labels(num_images, edges)).any():
        more_edges, more_weights = _joining_pairs(labels, similarity)
        edges, weights = np.concatenate([edges, more_edges]), np.concatenate([weights, more_weights])
    return pair_graph(num_images, edges, weights)


def _joining_pairs(
    labels: Int64[np.ndarray, " n"], similarity: SimilarityRows
) -> tuple[Int64[np.ndarray, "components 2"], Float64[np.ndarray, " components"]]:
    """For each component its most similar pair with an image of another component."""
    num_images = len(labels)
    partner = np.empty(num_images, dtype=np.int64)
    value = np.empty(num_images)
    for images, values in _blocks(num_images, similarity):
        outside = np.where(labels[images, None] == labels, -np.inf, np.rint(values / _RESOLUTION_OF_SIMILARITY))
        partner[images] = outside.argmax(axis=1)
        value[images] = values[np.arange(len(images)), partner[images]]
    ranking = np.lexsort((np.arange(num_images), -np.rint(value / _RESOLUTION_OF_SIMILARITY), labels))
    best = ranking[np.unique(labels[ranking], return_index=True)[1]]
    return np.stack([best, partner[best]], axis=1), value[best]


def _blocks(
    num_images: int, similarity: SimilarityRows
) -> Iterator[tuple[Int64[np.ndarray, " rows"], Float64[np.ndarray, "rows n"]]]:
    """Some rows of the similarity matrix at a time, with their image indices."""
    for start in range(0, num_images, _ROWS_AT_A_TIME):
        stop = min(start + _ROWS_AT_A_TIME, num_images)
        yield np.arange(start, stop), similarity(slice(start, stop))
