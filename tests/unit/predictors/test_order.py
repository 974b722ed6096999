from itertools import pairwise

import numpy as np
import pytest

from dust3r_sfm.predictors.order import blocks, split_pairs

COMPLETE = [(i, j) for i in range(40) for j in range(i + 1, 40)]


def images_of(pairs):
    return {image for pair in pairs for image in pair}


def chain(num_images, seed=0):
    order = np.random.default_rng(seed).permutation(num_images).tolist()
    return sorted((min(pair), max(pair)) for pair in pairwise(order))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 900])
@pytest.mark.parametrize("pairs", [COMPLETE, chain(60), [(3, 9)], []], ids=["complete", "chain", "one", "none"])
def test_every_pair_is_in_one_part_and_parts_are_equal(pairs, count):
    parts = split_pairs(pairs, 60, count)
    assert len(parts) == count and sorted(pair for part in parts for pair in part) == pairs
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert parts == split_pairs(pairs, 60, count)


def test_a_part_of_a_complete_graph_needs_few_photographs():
    """Quarters of the pairs in sorted order need up to 40 photographs, compact pieces of their matrix up to 30."""
    assert max(len(images_of(part)) for part in split_pairs(COMPLETE, 40, 4)) <= 31
    assert np.mean([len(images_of(part)) for part in split_pairs(COMPLETE, 40, 16)]) <= 18


def test_a_part_of_a_chain_is_a_stretch_of_it():
    for part in split_pairs(chain(60), 60, 4):
        assert len(images_of(part)) <= len(part) + 3


@pytest.mark.parametrize("max_encoded", [1, 2, 5, 12, 40])
def test_blocks_hold_every_edge_once_and_few_photographs(max_encoded):
    edges = [edge for pair in COMPLETE for edge in (pair, pair[::-1])]
    found = list(blocks(edges, 40, max_encoded))
    assert sorted(edge for block in found for edge in block) == sorted(edges)
    assert all(len(images_of(block)) <= max(2, max_encoded) for block in found)
    assert all(block[k] == block[k + 1][::-1] for block in found for k in range(0, len(block), 2))
