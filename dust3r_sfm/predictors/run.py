"""Run a predictor over the edges of a graph, into a store that an interrupted run resumes from."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.options import PredictOptions
from dust3r_sfm.predictors.predictor import PairPredictor
from dust3r_sfm.predictors.store import PredictionStore, PredictionWriter, StoreHeader, check_disk, estimated_size
from dust3r_sfm.types import Edge, ImageSet, PairGraph, PairPrediction, View


def predict_pairs(
    predictor: PairPredictor,
    images: ImageSet,
    graph: PairGraph,
    store_path: Path,
    options: PredictOptions,
    progress: Callable[[int, int], None] | None = None,
    seed: int = 0,
) -> PredictionStore:
    """Predict every pair of `graph` in both directions (in one with `options.one_direction`) and store the pointmaps.

    Edges that the store already holds are not predicted again. Each photograph is encoded once while
    `options.max_encoded` hold all of them; larger sets are walked in blocks of neighbouring photographs.

    Args:
        predictor: made by `load_predictor(options, seed)`.
        images: the photographs.
        graph: which pairs; a pair given in both directions counts once.
        store_path: the store, OUT/predictions.h5.
        options: what the predictor was made from.
        progress: called with (number of edges stored, number of edges) at the start and after each edge.
        seed: what the predictor was made from.

    Raises:
        InputError: when the store is damaged or holds predictions of other photographs, weights or seed.
        OutputError: when the disk cannot hold the predictions, or fills up; what is stored stays usable.
        PredictorError: when the predictor breaks its promises.
    """
    header = StoreHeader(
        predictor=predictor.name, licence=predictor.licence, fingerprint=_fingerprint(predictor, images, options, seed)
    )
    store = PredictionStore(store_path, images.names, header)
    wanted = directed_edges(graph, options.one_direction)
    missing = [edge for edge in wanted if edge not in store]
    if not missing:
        return store
    check_disk(store_path, estimated_size(images, len(missing)))
    num_stored = len(wanted) - len(missing)
    _report(progress, num_stored, len(wanted))
    predictor.prepare(images, graph)
    encoded: OrderedDict[int, Any] = OrderedDict()
    with PredictionWriter(store_path, images.names, header) as writer:
        for block in _blocks(missing, len(images), options.max_encoded):
            _encode(predictor, images, block, encoded, options.max_encoded)
            for edge, prediction in _predict(predictor, images, encoded, block):
                writer.add(edge, prediction)
                num_stored += 1
                _report(progress, num_stored, len(wanted))
    return PredictionStore(store_path, images.names, header)


def directed_edges(graph: PairGraph, one_direction: bool) -> list[Edge]:
    """Return the edges to predict: each pair once, the two directions of a pair as neighbours."""
    pairs = sorted({(min(i, j), max(i, j)) for i, j in graph.edges.tolist()})
    return pairs if one_direction else [edge for i, j in pairs for edge in ((i, j), (j, i))]


def _report(progress: Callable[[int, int], None] | None, num_stored: int, num_edges: int) -> None:
    if progress is not None:
        progress(num_stored, num_edges)


def _blocks(edges: Sequence[Edge], num_images: int, max_encoded: int) -> Iterator[list[Edge]]:
    """Split the edges so that a block needs at most `max_encoded` photographs, mostly those of the last one."""
    if len({image for edge in edges for image in edge}) <= max_encoded:
        yield list(edges)
        return
    i, j = np.array(edges).T
    adjacency = coo_array((np.ones(2 * len(i)), (np.r_[i, j], np.r_[j, i])), shape=(num_images, num_images)).tocsr()
    # The ordering brings connected photographs close together, so that few blocks of the matrix hold edges.
    rank = np.argsort(reverse_cuthill_mckee(adjacency, symmetric_mode=True))

    def tile(edge: Edge) -> tuple[int, int]:
        first, second = sorted(int(rank[image]) // max(1, max_encoded // 2) for image in edge)
        return first, second

    for _, block in groupby(sorted(edges, key=lambda edge: (tile(edge), min(edge), max(edge), edge)), key=tile):
        yield list(block)


def _encode(
    predictor: PairPredictor, images: ImageSet, block: Sequence[Edge], encoded: OrderedDict[int, Any], max_encoded: int
) -> None:
    """Bring the photographs of a block into `encoded`; the ones not used for longest make room."""
    needed = sorted({image for edge in block for image in edge})
    for image in needed:
        if image in encoded:
            encoded.move_to_end(image)
    new = [image for image in needed if image not in encoded]
    while encoded and len(encoded) + len(new) > max(max_encoded, len(needed)):
        encoded.popitem(last=False)
    encoded.update(zip(new, predictor.encode([images.views[image] for image in new]), strict=True))


def _predict(
    predictor: PairPredictor, images: ImageSet, encoded: OrderedDict[int, Any], block: Sequence[Edge]
) -> Iterator[tuple[Edge, PairPrediction]]:
    """Yield the predictions of a block, each checked: the right size, finite, and none missing at the end."""
    expected = set(block)
    for edge, prediction in predictor.predict(encoded, block):
        first, second = (images.views[image] for image in edge)
        if edge not in expected:
            raise PredictorError(f"'{predictor.name}' predicted {first.name} – {second.name}, which was not asked for.")
        expected.remove(edge)
        if not (_fits(prediction.points1, first) and _fits(prediction.points2, second)):
            raise PredictorError(
                f"'{predictor.name}' gave pointmaps of a wrong size or with infinite values for {first.name} – "
                f"{second.name}; use another predictor or report this to its author."
            )
        yield edge, prediction
    if expected:
        first, second = (images.views[image] for image in min(expected))
        raise PredictorError(f"'{predictor.name}' gave no prediction for {first.name} – {second.name}.")


def _fits(points: np.ndarray, view: View) -> bool:
    return points.shape[1::-1] == view.network_size and bool(np.isfinite(points).all())


def _fingerprint(predictor: PairPredictor, images: ImageSet, options: PredictOptions, seed: int) -> str:
    """Hash what predictions depend on; not the pairs, so that more pairs may be added later."""
    weights = Path(options.weights) if options.weights else None
    facts = {
        "predictor": predictor.name,
        "weights": options.weights,
        "weights_bytes": weights.stat().st_size if weights and weights.is_file() else None,
        "seed": seed,
        "images": [
            [
                v.name,
                v.path.stat().st_size,
                v.size,
                v.orientation,
                v.network_size,
                v.mask.stat().st_size if v.mask else 0,
            ]
            for v in images.views
        ],
    }
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
