"""Predict on a Ray cluster: every machine (or GPU) takes a share of the pairs, into files as `--shard` makes them.

All machines must have this package and see photographs, weights and output folder under the same paths.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dust3r_sfm.errors import Dust3rSfmError, OutputError, PredictorError
from dust3r_sfm.options import PredictOptions
from dust3r_sfm.predictors.order import split_pairs
from dust3r_sfm.predictors.predictor import PairPredictor, load_predictor
from dust3r_sfm.predictors.run import PredictionJob, ReportProgress, directed_edges, predict_edges, store_header
from dust3r_sfm.predictors.shard import Shard
from dust3r_sfm.predictors.store import PredictionStore, check_disk, estimated_size
from dust3r_sfm.types import Edge, ImageSet, PairGraph

_REPORT_SECONDS = 1.0
"""Time between two looks at the progress. Chosen by hand."""

_ANSWER_SECONDS = 10.0
"""Time that a machine of the cluster may take to answer. Chosen by hand."""


def predict_on_cluster(
    predictor: PairPredictor,
    images: ImageSet,
    graph: PairGraph,
    store_path: Path,
    options: PredictOptions,
    progress: ReportProgress | None = None,
    seed: int = 0,
) -> PredictionStore:
    """Do what `predict_pairs` does on a Ray cluster: that of this process, or what `ray.init` finds or starts.

    Each machine takes as many shares of the missing pairs as it has GPUs, or one where there are none (larger machines
    more), and writes predictions.1-of-n.h5 and so on. A share whose machine is lost begins again, elsewhere, where the
    last left off.

    Raises:
        PredictorError: Ray is not installed or not to be reached, the cluster has no processors or fails.
        OutputError: the disk is full, or a machine does not write into the folder of `store_path`.
        Dust3rSfmError: as `predict_pairs`.
    """
    ray = _import_ray()
    header = store_header(predictor, images, options, seed)
    store = PredictionStore(store_path, images.names, header)
    edges = directed_edges(graph, options.one_direction)
    missing = [edge for edge in edges if edge not in store]
    store.close()
    if not missing:
        job = PredictionJob(images=images, graph=graph, options=options, seed=seed)
        return predict_edges(predictor, job, edges, store_path, progress)
    check_disk(store_path, estimated_size(images, len(missing), getattr(predictor, "descriptor_size", 0)))

    def report(num_predicted: int) -> None:
        if progress is not None:
            progress(len(edges) - len(missing) + num_predicted, len(edges))

    report(0)
    with _connected(ray), _sentences(ray):
        cpus, gpus, count = _share_of_resources(ray, options)
        shares = [share for share in _split(missing, len(images), count) if share]
        job = PredictionJob(
            images=_without_place(images), graph=graph, options=_for_worker(options, cpus, gpus), seed=seed
        )
        shared_job = ray.put(job)
        counter = ray.remote(_Counter).options(num_cpus=0).remote()
        task = ray.remote(_predict_share).options(num_cpus=cpus, num_gpus=gpus, scheduling_strategy="SPREAD")
        pending = [
            task.remote(shared_job, share, Shard(index=k, count=len(shares)).beside(store_path.absolute()), counter, k)
            for k, share in enumerate(shares, 1)
        ]
        try:
            while pending:
                finished, pending = ray.wait(pending, timeout=_REPORT_SECONDS)
                ray.get(finished)
                report(ray.get(counter.total.remote()))
        finally:
            for running in pending:  # interrupted, they store what they have
                ray.cancel(running)
    store = PredictionStore(store_path, images.names, header)
    if any(edge not in store for edge in missing):
        raise OutputError(
            f"Predictions of the cluster have not come to {store_path.parent}; choose an output folder that all its "
            "machines see under this path."
        )
    return store


def _predict_share(job: PredictionJob, edges: Sequence[Edge], store_path: Path, counter: Any, index: int) -> None:
    """What a worker does."""
    predictor = load_predictor(job.options, job.seed)

    def report(num_stored: int, _: int) -> None:
        counter.set.remote(index, min(num_stored, len(edges)))

    predict_edges(predictor, job, edges, store_path, report).close()


class _Counter:
    """How far the shares are."""

    def __init__(self) -> None:
        self._stored: dict[int, int] = {}

    def set(self, index: int, num_stored: int) -> None:
        self._stored[index] = num_stored

    def total(self) -> int:
        return sum(self._stored.values())


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise PredictorError("--ray needs Ray, which is not installed; run `pip install 'dust3r_sfm[ray]'`.") from error
    return ray


@contextlib.contextmanager
def _connected(ray: Any) -> Iterator[None]:
    """A connection: the one there is, or one for this block."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    host, _, port = os.environ.get("RAY_ADDRESS", "").removeprefix("ray://").rpartition(":")
    try:
        if host and port.isdecimal():  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **_alone())
    except (OSError, ValueError, RuntimeError) as error:
        raise PredictorError(
            f"No Ray cluster can be reached at {os.environ.get('RAY_ADDRESS', 'this machine')}; start one with "
            "`ray start --head`, or unset RAY_ADDRESS to use this machine alone."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _alone() -> dict[str, Any]:
    """Where Ray is started for this machine alone, no other machine can reach it."""
    if os.environ.get("RAY_ADDRESS"):
        return {}
    return {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}


@contextlib.contextmanager
def _sentences(ray: Any) -> Iterator[None]:
    """A worker's own errors come out as they were raised there, those of the cluster as one sentence."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, Dust3rSfmError):
            raise error.cause from error
        if isinstance(error.cause, ImportError):
            raise PredictorError(
                f"A machine of the cluster lacks what it needs ({error.cause}); install the same dust3r_sfm on all."
            ) from error
        raise
    except ray.exceptions.RayError as error:
        raise PredictorError(
            f"The Ray cluster failed ({type(error).__name__}); what was predicted is kept: run the same command again."
        ) from error


def _share_of_resources(ray: Any, options: PredictOptions) -> tuple[int, int, int]:
    """How many CPUs and GPUs a share takes, and how many shares there is room for."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    if not machines:
        raise PredictorError("The Ray cluster has no processors; add a machine with `ray start --address=…`.")
    num_gpus = [int(machine.get("GPU", 0)) for machine in machines]
    if sum(num_gpus) and options.device.split(":")[0] in ("auto", "cuda"):
        cpus = min(int(machine["CPU"]) // count for machine, count in zip(machines, num_gpus, strict=True) if count)
        return max(1, cpus), 1, sum(num_gpus)
    cpus = int(min(machine["CPU"] for machine in machines))
    return cpus, 0, sum(int(machine["CPU"]) // cpus for machine in machines)


def _split(edges: Sequence[Edge], num_images: int, count: int) -> list[list[Edge]]:
    """Shares of directed edges; those of one pair stay together."""
    of_pair: dict[Edge, list[Edge]] = {}
    for edge in edges:
        of_pair.setdefault((min(edge), max(edge)), []).append(edge)
    parts = split_pairs(list(of_pair), num_images, count)
    return [[edge for pair in part for edge in of_pair[pair]] for part in parts]


def _without_place(images: ImageSet) -> ImageSet:
    """The same photographs by paths that hold in any working directory."""
    views = tuple(
        replace(view, path=view.path.absolute(), mask=view.mask.absolute() if view.mask else None)
        for view in images.views
    )
    return replace(images, root=images.root.absolute(), views=views)


def _for_worker(options: PredictOptions, cpus: int, gpus: int) -> PredictOptions:
    weights = options.weights
    if weights is not None and Path(weights).expanduser().exists():
        weights = str(Path(weights).expanduser().absolute())
    return replace(
        options,
        ray=False,
        weights=weights,
        device="cuda" if gpus else options.device,  # Ray shows each worker its own GPU only
        num_workers=options.num_workers or cpus,
    )
