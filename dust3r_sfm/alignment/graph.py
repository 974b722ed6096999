"""The graph of pairs: what hangs together, which loops close, and trees of the pairs that can be trusted."""

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

MAX_TRIANGLES = 300_000


def largest_component(num_images: int, images: Int64[np.ndarray, "p 2"]) -> Bool[np.ndarray, " n"]:
    """Mark the images of the largest connected component; of equal ones, the one with the first image."""
    ones = np.ones(len(images))
    graph = coo_array((ones, (images[:, 0], images[:, 1])), shape=(num_images, num_images))
    labels = connected_components(graph, directed=False)[1]
    return np.asarray(labels == np.bincount(labels, minlength=1).argmax())


def doubtful_bridges(
    num_images: int, edges: Int64[np.ndarray, "e 2"], accepted: Bool[np.ndarray, " e"], known: Float64[np.ndarray, " e"]
) -> Bool[np.ndarray, " e"]:
    """Mark accepted edges that alone join two groups of images while rejected edges between the groups know more.

    No loop checks a bridge, so a wrong one agrees with everything; that all others across contradict it is the only
    sign.

    Args:
        num_images: number of images.
        edges: directed edges.
        accepted: edges that fit.
        known: how much each edge knows.
    """
    doubtful = np.zeros(len(edges), bool)
    links = np.unique(np.sort(edges[accepted], axis=1), axis=0)
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(num_images, num_images)).tocsr()
    before = connected_components(graph, directed=False)[0]
    tree = minimum_spanning_tree(graph).tocoo()
    for i, j in zip(*tree.coords, strict=True):
        rest = links[(links != (i, j)).any(1)]
        cut = coo_array((np.ones(len(rest)), (rest[:, 0], rest[:, 1])), shape=(num_images, num_images))
        groups, labels = connected_components(cut, directed=False)
        if groups > before:
            across = np.isin(labels[edges], (labels[i], labels[j])).all(1) & (
                labels[edges[:, 0]] != labels[edges[:, 1]]
            )
            if known[across & ~accepted].sum() > known[across & accepted].sum():
                doubtful |= across & accepted
    return doubtful


def triangles(num_images: int, images: Int64[np.ndarray, "p 2"], rng: np.random.Generator) -> Int64[np.ndarray, "t 3"]:
    """List the pairs (i, j), (j, k), (i, k) of all triangles i < j < k; a random part where there are very many."""
    index = np.full((num_images, num_images), -1, np.int64)
    index[images[:, 0], images[:, 1]] = np.arange(len(images))
    found = []
    for p, (i, j) in enumerate(images):
        k = np.flatnonzero((index[i] >= 0) & (index[j] >= 0))
        found.append(np.stack([np.full(len(k), p), index[j, k], index[i, k]], axis=1))
    every = np.concatenate(found) if found else np.empty((0, 3), np.int64)
    if len(every) > MAX_TRIANGLES:
        every = every[np.sort(rng.choice(len(every), MAX_TRIANGLES, replace=False))]
    return every


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
    cost = 1 - np.log(trust / trust.max(initial=1e-300) + 1e-12)
    shape = (num_images, num_images)
    tree = minimum_spanning_tree(coo_array((cost, (images[:, 0], images[:, 1])), shape=shape).tocsr())
    strength = np.bincount(images.ravel(), np.repeat(trust, 2), num_images)
    order, parents = breadth_first_order(tree, int(strength.argmax()), directed=False)
    pair_of = {(int(i), int(j)): p for p, (i, j) in enumerate(images)}
    return [(int(parents[c]), int(c), pair_of[min(parents[c], c), max(parents[c], c)]) for c in order[1:]]


def solve_laplacian(
    num_nodes: int,
    first: Int64[np.ndarray, " p"],
    second: Int64[np.ndarray, " p"],
    differences: Float64[np.ndarray, "p d"],
    weights: Float64[np.ndarray, " p"],
) -> Float64[np.ndarray, "n d"]:
    """Find values x of the nodes that minimise Σ w |x[second] − x[first] − difference|², with mean 0."""
    laplacian = np.zeros((num_nodes, num_nodes))
    right = np.zeros((num_nodes, differences.shape[1]))
    np.add.at(laplacian, (first, first), weights)
    np.add.at(laplacian, (second, second), weights)
    np.add.at(laplacian, (first, second), -weights)
    np.add.at(laplacian, (second, first), -weights)
    np.add.at(right, second, weights[:, None] * differences)
    np.add.at(right, first, -weights[:, None] * differences)
    strength = max(float(np.trace(laplacian)) / num_nodes, 1e-300)
    return np.linalg.solve(laplacian + strength * (1e-12 * np.eye(num_nodes) + 1 / num_nodes), right)
