"""Which pairs are worth predicting: exhaustive, sequential, one with all, retrieval, from a file, from known poses."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from dust3r_sfm.errors import InputError
from dust3r_sfm.options import PairOptions
from dust3r_sfm.pairs.graph import pair_graph, read_pairs
from dust3r_sfm.pairs.neighbours import nearest_neighbours
from dust3r_sfm.pairs.poses import pairs_from_poses
from dust3r_sfm.types import ImageSet, PairGraph

MAX_EXHAUSTIVE = 16
"""Photographs of which `auto` takes all pairs, 120 of them, a minute on a laptop. Chosen by hand."""

_MOST_POWERS = 31
"""Distances of powers of two: more photographs than 2^31 nobody has. Chosen by hand."""

_AUTO_WINDOW_IMAGES = 2
"""Sequential neighbours that `auto` adds to retrieval for numbered names; similar frames are found anyway. Chosen by
hand."""

_NUMBERED_SHARE_OF_NAMES = 0.9
"""Names that differ by a number alone, when photographs count as the frames of a walk. Chosen by hand."""

Describe = Callable[[], Float32[np.ndarray, "n d"] | None]


def select_pairs(images: ImageSet, options: PairOptions, describe: Describe = lambda: None) -> PairGraph:
    """Select pairs as the options say.

    `auto` takes the file, the model or the reference that the options name; without one, all pairs of up to 16
    photographs, and above that retrieval, joined by the sequential neighbours when the names are numbered like frames.

    Args:
        images: the photographs.
        options: the strategy and its numbers.
        describe: gives one global descriptor per photograph (`lambda: predictor.describe(images.views)`), or None where
            there are none; called only by retrieval and loop closure.

    Returns:
        Each unordered pair once, as i < j, sorted.

    Raises:
        InputError: fewer than two photographs, a strategy without what it needs, an unknown reference, or no pair.
    """
    if len(images) < 2:
        raise InputError(f"{images.root} has {len(images)} usable photograph: a model needs at least two.")
    strategy = options.pairs
    if strategy == "auto" and options.pairs_file:
        strategy = "file"
    elif strategy == "auto" and options.pairs_poses:
        strategy = "poses"
    elif strategy == "auto" and options.pairs_reference:
        strategy = "oneref"
    elif strategy == "auto":
        strategy = "exhaustive" if len(images) <= MAX_EXHAUSTIVE else "retrieval"

    if strategy == "exhaustive":
        graph = pairs_exhaustive(len(images))
    elif strategy == "sequential":
        reach = window_distances(options.window)
        if options.quadratic:
            reach |= logarithmic_distances(options.window)
        graph = _by_name(images.names, reach, options.cyclic)
        if options.loop_closure:
            graph = _union(graph, pairs_from_retrieval(_descriptors(describe), options.num_retrieved))
    elif strategy == "swin":
        graph = _by_name(images.names, window_distances(options.window), options.cyclic)
    elif strategy == "logwin":
        graph = _by_name(images.names, logarithmic_distances(options.window), options.cyclic)
    elif strategy == "oneref":
        graph = pairs_with_one(len(images), _reference(images, options.pairs_reference))
    elif strategy == "retrieval":
        graph = pairs_from_retrieval(_descriptors(describe), options.num_retrieved)
        if options.pairs == "auto" and looks_sequential(images.names):
            reach = window_distances(_AUTO_WINDOW_IMAGES)
            graph = _union(graph, _by_name(images.names, reach, options.cyclic))
    elif strategy == "file":
        if options.pairs_file is None:
            raise InputError("--pairs file needs the file: add --pairs-file PAIRS.txt.")
        dropped = {item.name for item in images.dropped}
        graph = pairs_from_file(options.pairs_file, images.names, dropped)
    else:
        if options.pairs_poses is None:
            raise InputError("--pairs poses needs a COLMAP model: add --pairs-poses MODEL.")
        graph = pairs_from_poses(options.pairs_poses, images.names, options.num_retrieved)
    if len(graph.edges) == 0:
        raise InputError(
            f"--pairs {strategy} gives no pair among the photographs in {images.root}: try --pairs exhaustive."
        )
    return graph


def pairs_exhaustive(num_images: int) -> PairGraph:
    """All n (n - 1) / 2 pairs."""
    return pair_graph(num_images, np.stack(np.triu_indices(num_images, k=1), axis=1))


def pairs_sequential(num_images: int, distances: Collection[int], cyclic: bool = False) -> PairGraph:
    """Pairs of images whose indices differ by one of the distances.

    Args:
        num_images: number of images in their order.
        distances: at least 1 each; those that no two images have count for nothing.
        cyclic: the first image follows the last.
    """
    edges = [np.empty((0, 2), dtype=np.int64)]
    for distance in sorted(distance for distance in distances if distance < num_images):
        start = np.arange(num_images if cyclic else num_images - distance)
        edges.append(np.stack([start, (start + distance) % num_images], axis=1))
    return pair_graph(num_images, np.concatenate(edges))


def window_distances(window: int) -> set[int]:
    """1, 2, 3, … `window`: DUSt3R's `swin`, and COLMAP's sequential matcher with `overlap`."""
    return set(range(1, window + 1))


def logarithmic_distances(window: int) -> set[int]:
    """1, 2, 4, … 2^(window - 1): DUSt3R's `logwin`, and what COLMAP's `quadratic_overlap` adds to the others."""
    return {2**power for power in range(min(window, _MOST_POWERS))}


def pairs_with_one(num_images: int, reference: int) -> PairGraph:
    """One image, by its index, with all others: DUSt3R's `oneref`."""
    others = np.arange(num_images)
    return pair_graph(num_images, np.stack([np.full(num_images, reference), others], axis=1))


def pairs_from_retrieval(descriptors: Float32[np.ndarray, "n d"], num_retrieved: int) -> PairGraph:
    """Pair each image with those whose descriptors have the largest cosine; the weights are the cosines.

    The graph is connected: what retrieval leaves apart is joined by the most similar pairs. Descriptors without length
    or with infinite entries resemble nothing.
    """
    finite = np.where(np.isfinite(descriptors).all(axis=1, keepdims=True), descriptors, 0.0).astype(np.float32)
    unit = finite / np.maximum(np.linalg.norm(finite, axis=1, keepdims=True), np.finfo(np.float32).tiny)

    def similarity(rows: slice) -> Float64[np.ndarray, "rows n"]:
        return np.asarray(unit[rows] @ unit.T, dtype=np.float64)

    return nearest_neighbours(len(unit), num_retrieved, similarity)


def pairs_from_file(path: Path, names: Sequence[str], left_out: Collection[str] = ()) -> PairGraph:
    """The pairs of a pairs.txt; see `graph.read_pairs`."""
    return read_pairs(path, names, left_out)


def looks_sequential(names: Sequence[str]) -> bool:
    """Whether nine in ten names differ by a number alone, like the frames of a video or the shots of a walk."""
    patterns = Counter(re.sub(r"\d+(?=\D*$)", "#", name) for name in names)
    return patterns.most_common(1)[0][1] >= _NUMBERED_SHARE_OF_NAMES * len(names)


def _by_name(names: Sequence[str], distances: Collection[int], cyclic: bool) -> PairGraph:
    """Sequential pairs in the order people read names in: frame_2 before frame_10."""
    order = np.array(sorted(range(len(names)), key=lambda index: _natural_key(names[index])), dtype=np.int64)
    graph = pairs_sequential(len(names), distances, cyclic)
    return pair_graph(len(names), order[graph.edges])


def _reference(images: ImageSet, name: str | None) -> int:
    """The photograph that `oneref` pairs with all others."""
    if name is None:
        return min(range(len(images)), key=lambda index: _natural_key(images.names[index]))
    if name not in images.names:
        raise InputError(
            f"--pairs-reference names {name}, which is not among the photographs: names are relative to their folder, "
            f"like {images.names[0]}."
        )
    return images.names.index(name)


def _natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    parts = re.split(r"(\d+)", name)
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts)), name


def _union(graph1: PairGraph, graph2: PairGraph) -> PairGraph:
    edges = np.concatenate([graph1.edges, graph2.edges])
    return pair_graph(graph1.num_images, edges, np.concatenate([graph1.weights, graph2.weights]))


def _descriptors(describe: Describe) -> Float32[np.ndarray, "n d"]:
    descriptors = describe()
    if descriptors is None:
        raise InputError(
            "The predictor has no global descriptors to retrieve neighbours with: use --pairs exhaustive, file, poses, "
            "or sequential with --no-loop-closure."
        )
    return descriptors
