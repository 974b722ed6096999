"""The graph of pairs: what hangs together, which loops close, and trees of the pairs that can be trusted."""

from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.sparse import coo_array, csc_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import SuperLU, splu

from dust3r_sfm.pairs.graph import bridges, component_labels, pair_graph
from dust3r_sfm.system.compiled import compiled

_MAX_NUM_TRIANGLES = 300_000
"""Triangles that are looked at; chosen by hand."""
_MAX_NUM_DENSE = 100
"""Nodes up to which dense systems are faster; chosen by hand."""


def largest_component(num_images: int, images: Int64[np.ndarray, "p 2"]) -> Bool[np.ndarray, " n"]:
    """Mark the images of the largest connected component; of equal ones, the one with the first image."""
    ones = np.ones(len(images))
    graph = coo_array((ones, (images[:, 0], images[:, 1])), shape=(num_images, num_images))
    labels = connected_components(graph, directed=False)[1]
    return np.asarray(labels == np.bincount(labels, minlength=1).argmax())


def doubtful_bridges(
    num_images: int,
    edges: Int64[np.ndarray, "e 2"],
    accepted: Bool[np.ndarray, " e"],
    agrees: Bool[np.ndarray, " e"],
    known: Float64[np.ndarray, " e"],
) -> Bool[np.ndarray, " e"]:
    """Mark accepted edges that alone join two groups of images while more contradicts than supports their pose.

    No loop checks a bridge, so a wrong one agrees with everything; what the rejected edges across say of the cameras is
    the only sign. Those whose depths do not fit but whose cameras do speak for the bridge, not against it.

    Args:
        num_images: number of images.
        edges: directed edges.
        accepted: edges that fit.
        agrees: edges whose own relative pose is that of the placed cameras.
        known: how much each edge knows.
    """
    doubtful = np.zeros(len(edges), bool)
    links = pair_graph(num_images, edges[accepted])
    for i, j in bridges(links):
        rest = links.edges[(links.edges != (i, j)).any(1)]
        labels = component_labels(num_images, rest)
        across = np.isin(labels[edges], (labels[i], labels[j])).all(1) & (labels[edges[:, 0]] != labels[edges[:, 1]])
        supports = accepted | agrees
        if known[across & ~supports].sum() > known[across & supports].sum():
            doubtful |= across & accepted
    return doubtful


def triangles(num_images: int, images: Int64[np.ndarray, "p 2"], rng: np.random.Generator) -> Int64[np.ndarray, "t 3"]:
    """List the pairs (i, j), (j, k), (i, k) of all triangles i < j < k; a random part where there are very many."""
    order = np.argsort(images[:, 0], kind="stable")
    starts = np.searchsorted(images[order, 0], np.arange(num_images + 1))
    # Every pair (i, j) with every pair (j, k), and a look-up of (i, k).
    counts = starts[images[:, 1] + 1] - starts[images[:, 1]]
    first = np.repeat(np.arange(len(images)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    second = order[starts[images[first, 1]] + within]
    keys = images[:, 0] * num_images + images[:, 1]
    sorted_keys = np.sort(keys)
    wanted = images[first, 0] * num_images + images[second, 1]
    place = np.minimum(np.searchsorted(sorted_keys, wanted), max(len(keys) - 1, 0))
    closes = sorted_keys[place] == wanted if len(keys) else np.zeros(0, bool)
    across = np.argsort(keys, kind="stable")[place]
    every = np.stack([first, second, across], axis=1)[closes]
    if len(every) > _MAX_NUM_TRIANGLES:
        every = every[np.sort(rng.choice(len(every), _MAX_NUM_TRIANGLES, replace=False))]
    return np.asarray(every)


def support(
    loops: Int64[np.ndarray, "t 3"],
    closes: Float64[np.ndarray, " t"],
    prior: Float64[np.ndarray, " p"],
    rounds: int = 10,
) -> Float64[np.ndarray, " p"]:
    """Judge pairs by the triangles they are in: the share that closes, counted by the trust in the other two pairs.

    A pair is trusted as far as trusted pairs confirm it, which is iterated; without a triangle the trust is middling.

    Args:
        loops: pairs of each triangle.
        closes: how well each triangle closes, 0 to 1.
        prior: trust in each pair before any loop is seen, 0 to 1.
        rounds: iterations.

    Returns:
        Trust in each pair, 0 to 1.
    """
    trust = prior.copy()
    for _ in range(rounds):
        confirmed, possible = np.zeros(len(prior)), np.zeros(len(prior))
        for corner in range(3):
            others = trust[loops[:, corner - 1]] * trust[loops[:, corner - 2]]
            confirmed += np.bincount(loops[:, corner], others * closes, len(prior))
            possible += np.bincount(loops[:, corner], others, len(prior))
        # The two constants are one imagined triangle of weak trust that half closes.
        trust = prior * (confirmed + 0.01) / (possible + 0.02)
    return trust


def spanning_tree(
    num_images: int, images: Int64[np.ndarray, "p 2"], trust: Float64[np.ndarray, " p"]
) -> list[tuple[int, int, int]]:
    """Find the tree of the most trusted pairs, as steps (parent, child, pair) from its best connected image outwards.

    Images that no pair reaches are in no step.
    """
    strength = np.bincount(images.ravel(), np.repeat(trust, 2), num_images)
    order = np.argsort(-trust, kind="stable")
    steps = _grow(num_images, np.ascontiguousarray(images), order, int(strength.argmax()))
    return [(parent, child, pair) for parent, child, pair in steps.tolist()]


@compiled
@no_type_check
def _grow(num_images, images, order, root):
    """Take pairs in order unless they close a loop (Kruskal), and list the tree breadth first from its root."""
    group = np.arange(num_images)
    # For each image a chain of its branches: the end of a branch that it starts from, and the next such end.
    head, after = np.full(num_images, -1), np.full(2 * len(images), -1)
    for pair in order:
        ends = images[pair]
        top = np.empty(2, np.int64)
        for side in range(2):
            node = ends[side]
            while group[node] != node:
                group[node] = group[group[node]]
                node = group[node]
            top[side] = node
        if top[0] != top[1]:
            group[top[1]] = top[0]
            for side in range(2):
                branch = 2 * pair + side
                after[branch], head[ends[side]] = head[ends[side]], branch
    steps, reached = np.empty((num_images, 3), np.int64), np.zeros(num_images, np.bool_)
    steps[0], reached[root] = (-1, root, -1), True
    count, done = 1, 0
    while done < count:
        parent = steps[done, 1]
        branch = head[parent]
        while branch >= 0:
            pair = branch // 2
            child = images[pair, 1 - branch % 2]
            if not reached[child]:
                reached[child] = True
                steps[count, 0], steps[count, 1], steps[count, 2] = parent, child, pair
                count += 1
            branch = after[branch]
        done += 1
    return steps[1:count]


def solve_laplacian(
    num_nodes: int,
    first: Int64[np.ndarray, " p"],
    second: Int64[np.ndarray, " p"],
    differences: Float64[np.ndarray, "b p d"],
    weights: Float64[np.ndarray, "b p"],
) -> Float64[np.ndarray, "b n d"]:
    """Find values x of the nodes that minimize Σ w |x[second] − x[first] − difference|², with mean 0.

    Several problems on one graph are solved together.
    """
    arrays = [np.ascontiguousarray(array) for array in (first, second, differences, weights)]
    if num_nodes <= _MAX_NUM_DENSE:
        return np.asarray(_solve_dense(num_nodes, *arrays))
    right = _right_sides(num_nodes, *arrays)
    strength = np.maximum(2 * weights.sum(1) / num_nodes, 1e-300)
    found = np.empty_like(right)
    for b in range(len(weights)):
        found[b] = _solve_sparse(num_nodes, first, second, weights[b], right[b], float(strength[b]))
    return np.asarray(found - found.mean(1, keepdims=True))


@compiled
@no_type_check
def _right_sides(num_nodes, first, second, differences, weights):
    right = np.zeros((len(weights), num_nodes, differences.shape[2]))
    for b in range(len(weights)):
        for p in range(len(first)):
            for d in range(differences.shape[2]):
                pull = weights[b, p] * differences[b, p, d]
                right[b, second[p], d] += pull
                right[b, first[p], d] -= pull
    return right


@compiled
@no_type_check
def _solve_dense(num_nodes, first, second, differences, weights):
    right = _right_sides(num_nodes, first, second, differences, weights)
    laplacian = np.empty((num_nodes, num_nodes))
    for b in range(len(weights)):
        strength = max(2 * weights[b].sum() / num_nodes, 1e-300)
        # A constant adds what holds the mean at 0; the small one keeps nodes that nothing holds.
        laplacian[:] = strength / num_nodes
        for i in range(num_nodes):
            laplacian[i, i] += 1e-12 * strength
        for p in range(len(first)):
            i, j, weight = first[p], second[p], weights[b, p]
            if i != j:
                laplacian[i, j] -= weight
                laplacian[j, i] -= weight
                laplacian[i, i] += weight
                laplacian[j, j] += weight
        right[b] = np.linalg.solve(laplacian, right[b])
    return right


def _solve_sparse(
    num_nodes: int,
    first: Int64[np.ndarray, " p"],
    second: Int64[np.ndarray, " p"],
    weights: Float64[np.ndarray, " p"],
    right: Float64[np.ndarray, "n d"],
    strength: float,
) -> Float64[np.ndarray, "n d"]:
    diagonal = np.bincount(first, weights, num_nodes) + np.bincount(second, weights, num_nodes) + 1e-10 * strength
    nodes = np.arange(num_nodes)
    rows, columns = np.concatenate([first, second, nodes]), np.concatenate([second, first, nodes])
    values = np.concatenate([-weights, -weights, diagonal])
    matrix = coo_array((values, (rows, columns)), shape=(num_nodes, num_nodes)).tocsc()
    return np.asarray(factorize(matrix).solve(right))


def factorize(matrix: csc_array) -> SuperLU:
    """Factorize a sparse positive definite matrix."""
    symmetric = {"SymmetricMode": True}
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=symmetric)
