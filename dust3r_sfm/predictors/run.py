"""Run a predictor over the edges of a graph, into a store that an interrupted run resumes from."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.images.known import known_digest
from dust3r_sfm.options import PredictOptions
from dust3r_sfm.predictors.cache import FeatureCache
from dust3r_sfm.predictors.order import blocks, split_pairs
from dust3r_sfm.predictors.predictor import KeepsMatches, PairPredictor, check_predictor
from dust3r_sfm.predictors.shard import parse_shard, unfinished_shards
from dust3r_sfm.predictors.store import (
    PredictionStore,
    PredictionWriter,
    StoreHeader,
    check_disk,
    estimated_size,
    features_folder,
    matches_folder,
    merge_parts,
)
from dust3r_sfm.system.digest import digest
from dust3r_sfm.system.progress import phase
from dust3r_sfm.types import Edge, ImageSet, PairGraph, PairPrediction, View

logger = logging.getLogger("dust3r_sfm")

ReportProgress = Callable[[int, int], None]


def predict_pairs(
    predictor: PairPredictor,
    images: ImageSet,
    graph: PairGraph,
    store_path: Path,
    options: PredictOptions,
    progress: ReportProgress | None = None,
    seed: int = 0,
) -> PredictionStore:
    """Predict every pair of `graph` in both directions (in one with `options.one_direction`) and store the pointmaps.

    Edges that the store already holds are not predicted again. Each photograph is encoded once: `options.max_encoded`
    features stay in memory, and where there are more, all wait on disk, if the predictor `StoresFeatures` (one that
    does not encodes some again, walking the pairs in blocks of neighbouring photographs).

    Args:
        predictor: made by `load_predictor(options, seed)`.
        images: the photographs.
        graph: which pairs; a pair given in both directions counts once.
        store_path: the store, OUT/predictions.h5. With `options.shard` only that share of the pairs is predicted, into
            its own file beside it, and only that file is returned.
        options: what the predictor was made from.
        progress: called with (number of edges stored, number of edges) at the start and after each edge.
        seed: what the predictor was made from.

    Raises:
        InputError: when the store is damaged or holds predictions of other photographs, weights or seed.
        OutputError: when the disk cannot hold the predictions and features, or fills up; what is stored stays usable.
        PredictorError: when the predictor breaks its promises, or its weights cannot be used.
    """
    edges = directed_edges(graph, options.one_direction)
    if options.shard is not None:
        shard = parse_shard(options.shard)
        pairs = list(dict.fromkeys((min(edge), max(edge)) for edge in edges))
        mine = set(split_pairs(pairs, len(images), shard.count)[shard.index - 1])
        edges = [edge for edge in edges if (min(edge), max(edge)) in mine]
        store_path = shard.beside(store_path)
    job = PredictionJob(images=images, graph=graph, options=options, seed=seed)
    return predict_edges(predictor, job, edges, store_path, progress)


@dataclass(frozen=True, kw_only=True)
class PredictionJob:
    """What predictions depend on, whoever makes them; the attributes are those of `predict_pairs`."""

    images: ImageSet
    graph: PairGraph
    options: PredictOptions
    seed: int


def predict_edges(
    predictor: PairPredictor,
    job: PredictionJob,
    edges: Sequence[Edge],
    store_path: Path,
    progress: ReportProgress | None = None,
) -> PredictionStore:
    """Predict some directed edges of a job's graph and store them at `store_path`; see `predict_pairs`."""
    images, options = job.images, job.options
    header = store_header(predictor, images, options, job.seed)
    store = PredictionStore(store_path, images.names, header)
    missing = [edge for edge in edges if edge not in store]
    if not missing:
        store.close()
        merge_parts(store_path, header)  # a run that was killed at its very end left them
        return PredictionStore(store_path, images.names, header)
    for name in unfinished_shards(store_path):
        logger.warning("%s is missing or not finished: its pairs are predicted now", name)
    used = sorted({image for edge in edges for image in edge})
    cache = FeatureCache(predictor, images, used, features_folder(store_path), header.fingerprint, options.max_encoded)
    store_bytes = estimated_size(images, len(missing), getattr(predictor, "descriptor_size", 0))
    check_disk(store_path, store_bytes + cache.bytes_on_disk())
    num_stored = len(edges) - len(missing)
    _report(progress, num_stored, len(edges))
    if isinstance(predictor, KeepsMatches):
        predictor.keep_in(matches_folder(store_path))
    predictor.prepare(images, job.graph)
    phase("pointmaps")
    with PredictionWriter(store_path, images.names, header) as writer, cache:
        for block in blocks(missing, len(images), options.max_encoded):
            for edge, prediction in _predict(predictor, images, cache.features(block), block):
                writer.add(edge, prediction)
                num_stored += 1
                _report(progress, num_stored, len(edges))
    return PredictionStore(store_path, images.names, header)


def store_header(predictor: PairPredictor, images: ImageSet, options: PredictOptions, seed: int) -> StoreHeader:
    """Say where the predictions come from; predictions of another fingerprint are never mixed with these.

    The fingerprint hashes what predictions depend on, the content of the weights among it; not the pairs, so that more
    may be added later, nor where files lie, so that several machines may share the work.

    Raises:
        PredictorError: when the weights cannot be used.
    """
    facts = {
        "predictor": predictor.name,
        "weights": check_predictor(predictor).get("source", {}).get("sha256") or _hash_of(options.weights),
        "seed": seed,
        "images": [
            [
                v.name,
                digest(v.path),
                v.size,
                v.orientation,
                v.network_size,
                digest(v.mask) if v.mask else None,
            ]
            for v in images.views
        ],
        **known_digest(images),
        **({"matcher": mark} if (mark := getattr(predictor, "matcher_mark", "")) else {}),
        **({} if options.precision == "auto" else {"precision": options.precision}),
    }
    fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return StoreHeader(predictor=predictor.name, licence=predictor.licence, fingerprint=fingerprint)


def directed_edges(graph: PairGraph, one_direction: bool) -> list[Edge]:
    """Return the edges to predict: each pair once, the two directions of a pair as neighbours."""
    pairs = sorted({(min(i, j), max(i, j)) for i, j in graph.edges.tolist()})
    return pairs if one_direction else [edge for i, j in pairs for edge in ((i, j), (j, i))]


def _report(progress: ReportProgress | None, num_stored: int, num_edges: int) -> None:
    if progress is not None:
        progress(num_stored, num_edges)


def _predict(
    predictor: PairPredictor, images: ImageSet, encoded: Mapping[int, Any], block: Sequence[Edge]
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


def _hash_of(weights: str | None) -> str | None:
    """The content of a weights file; the words themselves where they name no file."""
    if weights is None or not Path(weights).is_file():
        return weights
    return digest(Path(weights))
