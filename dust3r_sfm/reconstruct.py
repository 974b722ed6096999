"""The whole chain: a folder of photographs in, a COLMAP model out.

Each stage leaves its file in the output folder and is skipped when that file is there and nothing it depends on has
changed, so a killed run goes on where it was, and a changed option redoes only what follows from it.
"""

import hashlib
import json
import logging
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from dust3r_sfm import __version__
from dust3r_sfm.alignment import align
from dust3r_sfm.colmap.check import check_workspace
from dust3r_sfm.colmap.database import write_database
from dust3r_sfm.colmap.model import reconstruction_from_scene, write_model
from dust3r_sfm.colmap.tracks import build_tracks
from dust3r_sfm.colmap.workspace import write_workspace
from dust3r_sfm.errors import InputError
from dust3r_sfm.images.load import load_original
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.transcode import transcode
from dust3r_sfm.matching.scene import match_scene
from dust3r_sfm.options import PredictOptions, ReconstructOptions
from dust3r_sfm.pairs.graph import graph_warnings, read_pairs, write_pairs
from dust3r_sfm.pairs.select import select_pairs
from dust3r_sfm.predictors.predictor import PairPredictor, load_predictor
from dust3r_sfm.predictors.run import directed_edges, predict_pairs
from dust3r_sfm.predictors.store import PredictionStore, estimated_size
from dust3r_sfm.progress import Progress, Silent, Step
from dust3r_sfm.run_folder import RunFolder
from dust3r_sfm.scene_file import read_scene, write_scene
from dust3r_sfm.summary import Summary, summarize
from dust3r_sfm.types import ImageSet, Scene

logger = logging.getLogger("dust3r_sfm")

Stage = Literal["pairs", "predict", "align", "export"]


def reconstruct(
    photos: Path,
    out: Path,
    options: ReconstructOptions | None = None,
    *,
    until: Stage = "export",
    progress: Progress | None = None,
) -> Summary | None:
    """Reconstruct a folder of photographs.

    Args:
        photos: folder of photographs, sub-folders included.
        out: output folder: pairs.txt, predictions.h5, scene.h5, sparse/0, database.db, dense, run.json.
        options: options of every stage.
        until: last stage to run.
        progress: shows the stages; silent by default.

    Returns:
        What the run came to, or None when it ends before the model is written.

    Raises:
        InputError: the photographs or options cannot be used.
        OutputError: the output folder holds another run, is not writable, or the disk is full.
        ReconstructionError: the photographs do not overlap.
    """
    with threadpool_limits(limits=1, user_api="blas"):  # the matrices are small: BLAS threads only wait for each other
        return _reconstruct(photos, out, options or ReconstructOptions(), until, progress or Silent())


def _reconstruct(
    photos: Path, out: Path, options: ReconstructOptions, until: Stage, progress: Progress
) -> Summary | None:
    predictor = load_predictor(options.predict, options.run.seed)
    with progress.stage("images") as step:
        images = read_images(photos, options.images, predictor.grid, progress=step)
    _require_enough(images, photos)
    _require_apart(photos, out)
    run = RunFolder(out, _stage_inputs(images, options, until), overwrite=options.run.overwrite)
    originals, images = images, transcode(images, out / "images")
    _describe_run(run, originals, predictor, options)

    pairs_path, predictions_path, scene_path = out / "pairs.txt", out / "predictions.h5", out / "scene.h5"
    if not run.is_done("pairs"):
        with _timed(run, "pairs", progress):
            selected = select_pairs(originals, options.pairs, lambda: _descriptors(predictor, images, options))
            write_pairs(pairs_path, images.names, selected)
    graph = read_pairs(pairs_path, images.names)
    run.record["warnings"] = [*images.warnings, *graph_warnings(graph, images.names)]
    run.save()
    if until == "pairs":
        return None

    if not run.is_done("predict"):
        num_edges = len(directed_edges(graph, options.predict.one_direction))
        megabytes = estimated_size(images, num_edges) / 1e6
        logger.info("%d directed pairs; their predictions take at most %.0f MB of disk", num_edges, megabytes)
        with _timed(run, "predict", progress) as step:
            predict_pairs(predictor, images, graph, predictions_path, options.predict, step, options.run.seed)
    predictions = PredictionStore(predictions_path, images.names)
    if until == "predict":
        return None

    if not run.is_done("align"):
        with _timed(run, "align", progress) as step:
            write_scene(scene_path, align(images, predictions, options.align, options.run.seed, step))
    scene = read_scene(scene_path)
    if until == "align":
        return None

    if not run.is_done("export"):
        with _timed(run, "export", progress) as step:
            findings = write_colmap(scene, predictions, out, options, step)
        run.record["findings"] = findings
        run.save()
    return summarize(run, images, scene)


def write_colmap(
    scene: Scene, predictions: PredictionStore, out: Path, options: ReconstructOptions, step: Step
) -> list[str]:
    """Write the COLMAP model of an aligned scene: sparse/0, database.db and the undistorted dense/ workspace.

    Returns:
        Sentences about views that patch-match stereo would skip or that see too little.
    """
    views = scene.views
    matches = match_scene(scene, views, predictions, options.match, step)
    tracks = build_tracks(scene, matches, options.tracks, lambda index: load_original(views[index]))
    reconstruction = reconstruction_from_scene(scene, tracks)
    write_model(reconstruction, out / "sparse" / "0")
    write_database(out / "database.db", reconstruction, matches)
    write_workspace(out, reconstruction, scene.image_root)
    return check_workspace(reconstruction)


@contextmanager
def _timed(run: RunFolder, stage: Stage, progress: Progress) -> Iterator[Step]:
    started = time.perf_counter()
    with progress.stage(stage) as step:
        yield step
    run.finish(stage, time.perf_counter() - started)


def _stage_inputs(images: ImageSet, options: ReconstructOptions, until: Stage) -> dict[str, dict[str, Any]]:
    """What each stage's result depends on, as JSON values; the photographs count by name and size in bytes."""
    photographs = [(view.name, view.path.stat().st_size) for view in images.views]
    speed = ("device", "num_workers", "max_encoded")
    predict = {name: value for name, value in asdict(options.predict).items() if name not in speed}
    inputs: dict[str, dict[str, Any]] = {
        "images": {
            "photographs": hashlib.sha256(json.dumps(photographs).encode()).hexdigest(),
            "camera_sharing": options.images.camera_sharing,
            "masks": options.images.masks,
        },
        "pairs": asdict(options.pairs) | {"predictor": options.predict.predictor},
        "predict": predict | {"seed": options.run.seed},
        "align": asdict(options.align),
        "export": asdict(options.match) | asdict(options.tracks),
    }
    names = list(inputs)
    return {name: inputs[name] for name in names[: names.index(until) + 1]}


def _descriptors(predictor: PairPredictor, images: ImageSet, options: ReconstructOptions) -> np.ndarray:
    """Global descriptors for retrieval: the predictor's own, else those of the embedded one."""
    descriptors = predictor.describe(images.views)
    if descriptors is None:
        embedded = load_predictor(PredictOptions(num_workers=options.predict.num_workers), options.run.seed)
        descriptors = embedded.describe(images.views)
    assert descriptors is not None, "the embedded predictor describes every image"
    return descriptors


def _require_enough(images: ImageSet, photos: Path) -> None:
    if len(images) >= 2:
        return
    left_out = "".join(f"; {dropped.name} was left out: {dropped.reason}" for dropped in images.dropped[:3])
    if not images.views:
        raise InputError(f"{photos} holds no photograph that can be used{left_out}.")
    raise InputError(
        f"{photos} holds one usable photograph ({images.views[0].name}){left_out}; a model needs at least two "
        "overlapping ones (one alone gives depth only with a network predictor such as dust3r-512-dpt)."
    )


def _require_apart(photos: Path, out: Path) -> None:
    """The next run would take pictures in OUT for photographs if one folder held the other."""
    inner, outer = out.resolve(), photos.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise InputError(f"{out} and {photos} lie inside each other; choose an output folder outside the photographs.")


def _describe_run(run: RunFolder, images: ImageSet, predictor: PairPredictor, options: ReconstructOptions) -> None:
    """Record what a reader of run.json wants to know before the first stage."""
    run.record |= {
        "versions": {
            "dust3r_sfm": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "pycolmap", "numpy", "scipy")},
        },
        "predictor": {"name": predictor.name, "licence": predictor.licence},
        "options": asdict(options),
        "photographs": {
            "root": str(images.root.resolve()),
            "used": list(images.names),
            "dropped": {dropped.name: dropped.reason for dropped in images.dropped},
        },
    }
    run.save()
