"""Which pairs are worth predicting: exhaustive, sequential, retrieval, from a file, from known poses."""

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
"""`auto` takes all pairs of at most this many photographs: 120 pairs, a minute on a laptop."""

AUTO_WINDOW = 2
"""Sequential neighbours that `auto` adds to retrieval for numbered names; similar frames are found anyway."""

Describe = Callable[[], Float32[np.ndarray, "n d"] | None]


def select_pairs(images: ImageSet, options: PairOptions, describe: Describe) -> PairGraph:
    """Select pairs as the options say.

    `auto` takes the file or the model that the options name; without one, all pairs of up to 16 photographs, and above
    that retrieval, joined by the sequential neighbours when the names are numbered like frames.

    Args:
        images: the photographs.
        options: the strategy and its numbers.
        describe: gives one global descriptor per photograph, or None where the predictor has none; called only by
            retrieval and loop closure.

    Returns:
        Each unordered pair once, as i < j, sorted.

    Raises:
        InputError: fewer than two photographs, a strategy without what it needs, or no pair at all.
    """
    if len(images) < 2:
        raise InputError(f"{images.root} has {len(images)} usable photograph: a model needs at least two.")
    strategy = options.pairs
    if strategy == "auto" and options.pairs_file:
        strategy = "file"
    elif strategy == "auto" and options.pairs_poses:
        strategy = "poses"
    elif strategy == "auto":
        strategy = "exhaustive" if len(images) <= MAX_EXHAUSTIVE else "retrieval"

    if strategy == "exhaustive":
        graph = pairs_exhaustive(len(images))
    elif strategy == "sequential":
        graph = _sequential_by_name(images.names, options.window, options.quadratic)
        if options.loop_closure:
            graph = _union(graph, pairs_from_retrieval(_descriptors(describe), options.num_retrieved))
    elif strategy == "retrieval":
        graph = pairs_from_retrieval(_descriptors(describe), options.num_retrieved)
        if options.pairs == "auto" and looks_sequential(images.names):
            graph = _union(graph, _sequential_by_name(images.names, AUTO_WINDOW, quadratic=False))
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


def pairs_sequential(num_images: int, window: int, quadratic: bool) -> PairGraph:
    """Pairs of images whose indices differ by 1 to `window`; with `quadratic` also by 1, 2, 4, … 2^(window - 1).

    The distances are those of COLMAP's sequential matcher (`overlap`, `quadratic_overlap`).
    """
    distances = set(range(1, window + 1))
    if quadratic:
        distances |= {2**power for power in range(window)}
    starts = [np.arange(max(0, num_images - distance)) for distance in sorted(distances)]
    edges = [
        np.stack([start, start + distance], axis=1) for start, distance in zip(starts, sorted(distances), strict=True)
    ]
    return pair_graph(num_images, np.concatenate([np.empty((0, 2), dtype=np.int64), *edges]))


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
    return patterns.most_common(1)[0][1] >= 0.9 * len(names)


def _sequential_by_name(names: Sequence[str], window: int, quadratic: bool) -> PairGraph:
    """Sequential pairs in the order people read names in: frame_2 before frame_10."""
    order = np.array(sorted(range(len(names)), key=lambda index: _natural_key(names[index])), dtype=np.int64)
    graph = pairs_sequential(len(names), window, quadratic)
    return pair_graph(len(names), order[graph.edges])


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
