from itertools import combinations

import numpy as np
import pytest

from dust3r_sfm.alignment.start.graph import (
    doubtful_bridges,
    largest_component,
    solve_laplacian,
    spanning_tree,
    support,
    triangles,
)


def _pairs(num_images: int) -> np.ndarray:
    return np.array(list(combinations(range(num_images), 2)))


def test_the_largest_component_is_marked():
    pairs = np.array([[0, 3], [1, 2], [2, 4]])
    assert largest_component(6, pairs).tolist() == [False, True, True, False, True, False]
    assert largest_component(3, np.empty((0, 2), np.int64)).tolist() == [True, False, False]


def test_every_triangle_is_found_once():
    pairs = _pairs(6)
    loops = triangles(6, pairs, np.random.default_rng(0))
    assert len(loops) == 20
    for first, second, across in pairs[loops]:
        assert first[1] == second[0] and [first[0], second[1]] == across.tolist()
    assert len(triangles(4, np.array([[0, 1], [1, 2], [2, 3]]), np.random.default_rng(0))) == 0


def test_pairs_that_close_no_triangle_lose_trust_even_when_they_are_many():
    rng, pairs = np.random.default_rng(0), _pairs(12)
    bad = rng.permutation(len(pairs)) < 0.4 * len(pairs)
    loops = triangles(12, pairs, rng)
    trust = support(loops, np.where(bad[loops].any(1), 0.0, 1.0), np.ones(len(pairs)))
    assert trust[bad].max() < 0.1
    assert trust[~bad].min() > 0.9


def test_pairs_without_a_triangle_keep_a_middling_trust():
    trust = support(np.empty((0, 3), np.int64), np.empty(0), np.array([1.0, 0.2]))
    np.testing.assert_allclose(trust, [0.5, 0.1])


def test_the_tree_takes_the_trusted_pairs_and_reaches_every_image():
    pairs = _pairs(5)
    trust = np.full(len(pairs), 0.1)
    best = [(0, 3), (1, 3), (2, 3), (2, 4)]
    for i, j in best:
        trust[(pairs == (i, j)).all(1)] = 1.0
    steps = spanning_tree(5, pairs, trust)
    assert sorted(tuple(pairs[pair]) for _, _, pair in steps) == best
    reached = {steps[0][0]}
    for parent, child, pair in steps:
        assert parent in reached and child not in reached
        assert sorted((parent, child)) == pairs[pair].tolist()
        reached.add(child)
    assert reached == set(range(5))


def _two_groups() -> tuple[np.ndarray, np.ndarray]:
    """Two groups of three images, all pairs within them and three across, of which the first is accepted."""
    inside = [*combinations(range(3), 2), *combinations(range(3, 6), 2)]
    return np.array([*inside, (0, 3), (1, 4), (2, 5)]), np.array([True] * 7 + [False] * 2)


def test_a_bridge_is_doubted_only_when_more_speaks_against_it():
    edges, accepted = _two_groups()
    strong, weak = np.r_[np.ones(7), 0.4, 0.4], np.r_[np.ones(6), 0.5, 0.4, 0.4]
    assert not doubtful_bridges(6, edges, accepted, accepted, strong).any()
    assert np.flatnonzero(doubtful_bridges(6, edges, accepted, accepted, weak)).tolist() == [6]
    accepted[7] = True
    assert not doubtful_bridges(6, edges, accepted, accepted, weak).any()


def test_a_rejected_pair_whose_cameras_are_those_of_the_model_speaks_for_the_bridge():
    edges, accepted = _two_groups()
    known, agrees = np.r_[np.ones(6), 0.5, 0.4, 0.4], accepted.copy()
    agrees[8] = True
    assert not doubtful_bridges(6, edges, accepted, agrees, known).any()
    known[7] = 1.0
    assert np.flatnonzero(doubtful_bridges(6, edges, accepted, agrees, known)).tolist() == [6]


@pytest.mark.parametrize("num_nodes", [6, 150])
def test_consistent_differences_are_reproduced(num_nodes):
    rng, pairs = np.random.default_rng(1), _pairs(num_nodes)
    pairs = pairs[(pairs[:, 1] - pairs[:, 0] < 4) | (rng.uniform(size=len(pairs)) < 0.01)]
    values = rng.normal(size=(2, num_nodes, 2))
    values -= values.mean(1, keepdims=True)
    weights = rng.uniform(0.1, 1, (2, len(pairs)))
    found = solve_laplacian(num_nodes, *pairs.T, values[:, pairs[:, 1]] - values[:, pairs[:, 0]], weights)
    np.testing.assert_allclose(found, values, atol=1e-7)
