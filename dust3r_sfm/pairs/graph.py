"""The pair graph: building it, its weak spots, and its text form (hloc's pairs.txt)."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dust3r_sfm.errors import InputError
from dust3r_sfm.hloc import split_pair
from dust3r_sfm.system.files import write_text
from dust3r_sfm.system.text import read_text
from dust3r_sfm.types import Edge, PairGraph


def pair_graph(
    num_images: int, edges: Int64[np.ndarray, "e 2"], weights: Float64[np.ndarray, " e"] | None = None
) -> PairGraph:
    """Bring pairs to their normal form: i < j, each once with its largest weight, sorted; pairs of one image vanish.

    Args:
        num_images: number of nodes.
        edges: pairs of image indices in any order and direction.
        weights: 1 for every pair when left out.
    """
    weights = np.ones(len(edges)) if weights is None else weights
    edges = np.sort(edges, axis=1)
    proper = edges[:, 0] < edges[:, 1]
    edges, weights = edges[proper], weights[proper]
    edges, which = np.unique(edges, axis=0, return_inverse=True)
    largest = np.full(len(edges), -np.inf)
    np.maximum.at(largest, which.reshape(-1), weights)
    return PairGraph(num_images=num_images, edges=edges.astype(np.int64), weights=largest)


def components(graph: PairGraph) -> list[list[int]]:
    """Groups of images that pairs connect, the largest first (of equal ones that with the lowest index)."""
    if graph.num_images == 0:
        return []
    labels = component_labels(graph.num_images, graph.edges)
    groups = [np.flatnonzero(labels == label).tolist() for label in range(labels.max() + 1)]
    return sorted(groups, key=lambda group: (-len(group), group[0]))


def component_labels(num_images: int, edges: Int64[np.ndarray, "e 2"]) -> Int64[np.ndarray, " n"]:
    """The component of each image, numbered from 0."""
    adjacency = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(num_images, num_images))
    labels = connected_components(adjacency, directed=False)[1]
    return np.asarray(labels, dtype=np.int64)


def weak_images(graph: PairGraph) -> list[int]:
    """Images that at most one pair holds: nothing can check what that pair says about them."""
    edges = pair_graph(graph.num_images, graph.edges).edges
    degrees = np.bincount(edges.reshape(-1), minlength=graph.num_images)
    return [int(index) for index in np.flatnonzero(degrees <= 1)]


def bridges(graph: PairGraph) -> list[Edge]:
    """Pairs without which their component would fall apart, as i < j, sorted (Tarjan 1974)."""
    neighbours: list[list[int]] = [[] for _ in range(graph.num_images)]
    for i, j in pair_graph(graph.num_images, graph.edges).edges.tolist():
        neighbours[i].append(j)
        neighbours[j].append(i)
    entered = [-1] * graph.num_images
    lowest = [0] * graph.num_images
    clock = 0
    found = []
    for root in range(graph.num_images):
        if entered[root] >= 0:
            continue
        # Each stack entry is an image, the one it was reached from, and what is left of its neighbours.
        stack = [(root, -1, iter(neighbours[root]))]
        entered[root] = lowest[root] = clock
        while stack:
            image, parent, rest = stack[-1]
            following = next((other for other in rest if other != parent), None)
            if following is None:
                stack.pop()
                if parent >= 0:
                    lowest[parent] = min(lowest[parent], lowest[image])
                    if lowest[image] > entered[parent]:
                        found.append((min(image, parent), max(image, parent)))
            elif entered[following] >= 0:
                lowest[image] = min(lowest[image], entered[following])
            else:
                clock += 1
                entered[following] = lowest[following] = clock
                stack.append((following, image, iter(neighbours[following])))
    return sorted(found)


def graph_warnings(graph: PairGraph, names: Sequence[str]) -> list[str]:
    """What the user should know about a pair graph before hours are spent on it, in sentences."""
    groups = components(graph)
    sentences = []
    if len(groups) > 1:
        apart = [names[index] for group in groups[1:] for index in group]
        sentences.append(
            f"The pairs fall into {len(groups)} separate groups; only the largest, {len(groups[0])} of {len(names)} "
            f"photographs, can become one model. Apart are {_listed(apart)}."
        )
    within = set(groups[0]) if groups else set()
    hanging = [index for index in weak_images(graph) if index in within]
    if hanging and len(within) > 2:
        verb = "hangs on a single pair" if len(hanging) == 1 else "hang on a single pair each"
        sentences.append(f"{_listed([names[index] for index in hanging])} {verb}.")
    for i, j in bridges(graph):
        if i in within and i not in hanging and j not in hanging:
            sentences.append(f"Only the pair {names[i]} and {names[j]} joins the two halves of the model.")
    return sentences


def write_pairs(path: Path, names: Sequence[str], graph: PairGraph) -> None:
    """Write hloc's pairs.txt: two names a line with a blank between, or a tab when any name holds blanks.

    Raises:
        OutputError: the disk is full or the file cannot be written.
    """
    separator = "\t" if any(character.isspace() for name in names for character in name) else " "
    write_text(path, "".join(f"{names[i]}{separator}{names[j]}\n" for i, j in graph.edges.tolist()))


def read_pairs(path: Path, names: Sequence[str], left_out: Collection[str] = ()) -> PairGraph:
    """Read a pairs.txt: two names a line, tab-separated where names hold blanks. A pair and its reverse are one.

    Args:
        path: the file, in UTF-8.
        names: the images; the graph's indices refer to them.
        left_out: other names that may stand in the file; their pairs are passed over.

    Raises:
        InputError: no such file, a line that is not two names, an unknown name, or an image paired with itself.
    """
    if not path.is_file():
        raise InputError(f"There is no list of pairs {path}; give a text file of two names a line.", path=path)
    try:
        lines = read_text(path).split("\n")
    except (OSError, ValueError) as error:
        raise InputError(
            f"The list of pairs {path} cannot be read ({error}): give a text file in UTF-8.", path=path
        ) from error
    index_of = {name: index for index, name in enumerate(names)}
    edges = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        pair = split_pair(line)
        if len(pair) != 2:
            raise InputError(
                f"Line {number} of {path} is not a pair: it needs two names, parted by a tab if they hold blanks.",
                path=path,
            )
        if pair[0] == pair[1]:
            raise InputError(f"Line {number} of {path} pairs {pair[0]} with itself: remove it.", path=path)
        for name in pair:
            if name not in index_of and name not in left_out:
                raise InputError(
                    f"Line {number} of {path} names {name}, which is not among the photographs: names are relative to "
                    f"their folder, like {names[0]}.",
                    path=path,
                )
        if pair[0] in index_of and pair[1] in index_of:
            edges.append((index_of[pair[0]], index_of[pair[1]]))
    return pair_graph(len(names), np.array(edges, dtype=np.int64).reshape(-1, 2))


def _listed(names: Sequence[str], at_most: int = 5) -> str:
    if len(names) > at_most:
        return f"{', '.join(names[:at_most])} and {len(names) - at_most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
