"""Pairs for new images: each new one has neighbours, and these old ones are joined among themselves."""

import numpy as np
import pytest

from dust3r_sfm.pairs.additions import pairs_with_new
from dust3r_sfm.pairs.graph import component_labels


def refuse():
    raise AssertionError("a small set needs no descriptors")


def test_small_sets_get_all_pairs():
    graph = pairs_with_new(np.arange(10) >= 8, 3, refuse)
    assert len(graph.edges) == 45


@pytest.mark.parametrize("num_retrieved", [1, 3, 8])
def test_large_sets_are_searched_near_the_new_images(num_retrieved):
    """Images stand along a street; two new ones at its middle."""
    count = 200
    angle = np.linspace(0, 3, count)
    descriptors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    is_new = np.zeros(count, bool)
    is_new[[100, 101]] = True
    graph = pairs_with_new(is_new, num_retrieved, lambda: descriptors)
    assert (graph.edges[:, 0] < graph.edges[:, 1]).all()
    used = np.unique(graph.edges)
    assert set(np.flatnonzero(is_new)) <= set(used)
    assert np.abs(used - 100.5).max() < 3 * num_retrieved + 3
    old_pairs = graph.edges[~is_new[graph.edges].any(axis=1)]
    assert len(old_pairs) >= 1
    assert len(np.unique(component_labels(count, graph.edges)[used])) == 1
