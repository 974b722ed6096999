"""The whole chain: a folder of photographs in, a COLMAP model out.

Each stage leaves its file in the output folder and is skipped when that file is there and nothing it depends on has
changed, so a killed run goes on where it was, and a changed option redoes only what follows from it.
"""

import hashlib
import json
import logging
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from dust3r_sfm import __version__
from dust3r_sfm.alignment import align
from dust3r_sfm.alignment.diagnosis import diagnose
from dust3r_sfm.alignment.frame.anchor import anchored
from dust3r_sfm.alignment.frame.metric import metric_scene
from dust3r_sfm.colmap.database import write_database
from dust3r_sfm.colmap.model import reconstruction_from_scene, with_points, write_model
from dust3r_sfm.dense.check import check_workspace
from dust3r_sfm.dense.pointmaps import write_pointmaps
from dust3r_sfm.dense.workspace import write_workspace
from dust3r_sfm.errors import InputError
from dust3r_sfm.images.known import known_digest, with_known
from dust3r_sfm.images.load import load_original
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.transcode import transcode
from dust3r_sfm.matching.scene import match_scene
from dust3r_sfm.matching.windows import require_descriptors
from dust3r_sfm.options import KnownOptions, PredictOptions, ReconstructOptions
from dust3r_sfm.pairs.graph import graph_warnings, read_pairs, write_pairs
from dust3r_sfm.pairs.select import select_pairs
from dust3r_sfm.predictors.cluster import predict_on_cluster
from dust3r_sfm.predictors.dust3r import NetworkPredictor
from dust3r_sfm.predictors.predictor import PairPredictor, check_predictor, load_predictor, weights_facts
from dust3r_sfm.predictors.run import directed_edges, predict_pairs
from dust3r_sfm.predictors.shard import parse_shard
from dust3r_sfm.predictors.store import PredictionStore, estimated_size
from dust3r_sfm.refinement.points import refined_tracks
from dust3r_sfm.refinement.refine import refine_scene
from dust3r_sfm.report import write_report
from dust3r_sfm.runs.folder import RunFolder, require_apart
from dust3r_sfm.runs.summary import Summary, summarize
from dust3r_sfm.scene_file import read_scene, write_scene
from dust3r_sfm.single import predict_alone, scene_of_one, tracks_from_depth
from dust3r_sfm.system.progress import Progress, Silent, Step
from dust3r_sfm.types import ImageSet, PairGraph, Scene

logger = logging.getLogger("dust3r_sfm")

Stage = Literal["pairs", "predict", "align", "export"]


def reconstruct(
    photos: Path | Sequence[Path],
    out: Path,
    options: ReconstructOptions | None = None,
    *,
    until: Stage = "export",
    progress: Progress | None = None,
) -> Summary | None:
    """Reconstruct photographs.

    Args:
        photos: folder of photographs, sub-folders included; or a list of files and folders (see `read_images`).
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
    photos: Path | Sequence[Path], out: Path, options: ReconstructOptions, until: Stage, progress: Progress
) -> Summary | None:
    suffix = _shard_suffix(options, until)
    predictor = load_predictor(options.predict, options.run.seed)
    if options.match.fine_size is not None:
        require_descriptors(predictor)
    with progress.stage("images") as step:
        images = with_known(read_images(photos, options.images, predictor.grid, progress=step), options.known)
    _require_enough(images, predictor)
    for given in [photos] if isinstance(photos, Path) else photos:
        require_apart(given, out)
    if until != "pairs" and not (out / f"run{suffix}.json").exists():
        check_predictor(predictor)  # first: a folder of unusable weights would be no place for the next try
    run = RunFolder(out, _stage_inputs(images, options, until), overwrite=options.run.overwrite, suffix=suffix)
    originals, images = images, transcode(images, out / f"images{suffix}")
    _describe_run(run, originals, predictor, options, until)

    pairs_path, predictions_path, scene_path = out / "pairs.txt", out / "predictions.h5", out / "scene.h5"
    if not run.is_done("pairs"):
        with _timed(run, "pairs", progress):
            selected = PairGraph(num_images=1, edges=np.zeros((0, 2), np.int64), weights=np.zeros(0))
            if len(images) > 1:
                selected = select_pairs(originals, options.pairs, lambda: _descriptors(predictor, images, options))
            write_pairs(pairs_path, images.names, selected)
    graph = read_pairs(pairs_path, images.names)
    run.record["warnings"] = [*images.warnings, *graph_warnings(graph, images.names)]
    run.save()
    if until == "pairs":
        return None

    if not run.is_done("predict"):
        num_edges = len(directed_edges(graph, options.predict.one_direction))
        megabytes = estimated_size(images, num_edges, getattr(predictor, "descriptor_size", 0)) / 1e6
        logger.info("%d directed pairs; their predictions take at most %.0f MB of disk", num_edges, megabytes)
        with _timed(run, "predict", progress) as step:
            predict = predict_on_cluster if options.predict.ray else predict_pairs
            predict = predict if len(images) > 1 else predict_alone
            predict(predictor, images, graph, predictions_path, options.predict, step, options.run.seed)
    if until == "predict":
        return None
    predictions = PredictionStore(predictions_path, images.names)

    if not run.is_done("align"):
        with _timed(run, "align", progress) as step:
            if len(images) > 1:
                scene = align(images, predictions, options.align, options.run.seed, step)
            else:
                scene = anchored(scene_of_one(images, predictions), images)
            write_scene(scene_path, metric_scene(scene, options.known, options.run.seed))
    scene = read_scene(scene_path)
    # The scene says of each pair what the pair graph could only fear.
    run.record |= {"warnings": list(images.warnings), "diagnosis": diagnose(scene).as_json()}
    run.save()
    if until == "align":
        return None

    if not run.is_done("export"):
        with _timed(run, "export", progress) as step:
            written = write_colmap(scene, predictions, out, options, step, predictor)
        run.record |= {"refinement": written.refinement, "findings": written.findings}
        run.save()
    summary = summarize(run, images, scene)
    write_report(out)
    return summary


@dataclass(frozen=True, kw_only=True)
class Written:
    """What the user should know of a written model.

    Attributes:
        refinement: what refining the cameras came to, in a sentence.
        findings: sentences about views that patch-match stereo would skip or that see too little.
    """

    refinement: str
    findings: list[str]


def write_colmap(
    scene: Scene,
    predictions: PredictionStore,
    out: Path,
    options: ReconstructOptions,
    step: Step,
    predictor: PairPredictor | None = None,
) -> Written:
    """Write the COLMAP model of an aligned scene: sparse/0, database.db, and the workspaces dense/ and
    dense_pointmaps/.

    Its cameras are refined on keypoints (features.h5) first, where that makes them better. `predictor` is the one of
    the options, where it has been made.
    """
    views = scene.views
    if predictor is None and options.match.fine_size is not None:
        predictor = load_predictor(options.predict, options.run.seed)
    found = match_scene(scene, views, predictions, options.match, step, options.predict.device, predictor)
    if scene.registered.sum() > 1:
        refinement = refine_scene(scene, found, out / "features.h5", options.refine, options.images.masks, step)
        tracks = refined_tracks(refinement, found, options.tracks, lambda index: load_original(views[index]))
        reconstruction = with_points(refinement.model, tracks)
        sentence, matches = refinement.sentence, [*refinement.matches, *found]
    else:
        tracks = tracks_from_depth(scene, options.tracks.max_points, lambda index: load_original(views[index]))
        reconstruction, sentence, matches = reconstruction_from_scene(scene, tracks), "one camera as it is", found
    write_model(reconstruction, out / "sparse" / "0")
    write_database(out / "database.db", reconstruction, matches)
    write_workspace(out, reconstruction, scene.image_root, options.images.masks, overwrite=options.run.overwrite)
    write_pointmaps(out, reconstruction, scene)
    return Written(refinement=sentence, findings=check_workspace(reconstruction))


@contextmanager
def _timed(run: RunFolder, stage: Stage, progress: Progress) -> Iterator[Step]:
    started = time.perf_counter()
    with progress.stage(stage) as step:
        yield step
    run.finish(stage, time.perf_counter() - started)


def _stage_inputs(images: ImageSet, options: ReconstructOptions, until: Stage) -> dict[str, dict[str, Any]]:
    """What each stage's result depends on, as JSON values; the photographs count by name and size in bytes."""
    photographs = [(view.name, view.path.stat().st_size) for view in images.views]
    speed = ("device", "num_workers", "max_encoded", "shard", "ray")
    predict = {name: value for name, value in asdict(options.predict).items() if name not in speed}
    inputs: dict[str, dict[str, Any]] = {
        "images": {
            "photographs": hashlib.sha256(json.dumps(photographs).encode()).hexdigest(),
            "camera_sharing": options.images.camera_sharing,
            "masks": options.images.masks,
            **known_digest(images),
        },
        "pairs": asdict(options.pairs) | {"predictor": options.predict.predictor},
        "predict": predict | weights_facts(options.predict) | {"seed": options.run.seed},
        "align": asdict(options.align) | _scale_inputs(options.known),
        "export": asdict(options.match) | asdict(options.tracks) | asdict(options.refine),
    }
    names = list(inputs)
    return {name: inputs[name] for name in names[: names.index(until) + 1]}


def _scale_inputs(known: KnownOptions) -> dict[str, Any]:
    """What gives the scene its frame and scale, where anything does."""
    return {name: value for name in ("georegister", "scale_distance") if (value := getattr(known, name))}


def _descriptors(predictor: PairPredictor, images: ImageSet, options: ReconstructOptions) -> np.ndarray:
    """Global descriptors for retrieval: the predictor's own, else those of the embedded one."""
    descriptors = predictor.describe(images.views)
    if descriptors is None:
        embedded = load_predictor(PredictOptions(num_workers=options.predict.num_workers), options.run.seed)
        descriptors = embedded.describe(images.views)
    assert descriptors is not None, "the embedded predictor describes every image"
    return descriptors


def _require_enough(images: ImageSet, predictor: PairPredictor) -> None:
    if len(images) >= 2 or (len(images) == 1 and isinstance(predictor, NetworkPredictor)):
        return
    left_out = "".join(f"; {dropped.name} was left out: {dropped.reason}" for dropped in images.dropped[:3])
    if not images.views:
        raise InputError(f"{images.root} holds no photograph that can be used{left_out}.")
    raise InputError(
        f"{images.root} holds one usable photograph ({images.views[0].name}){left_out}; a model needs at least two "
        "overlapping ones (one alone gives depth only with a network predictor such as dust3r-512-dpt)."
    )


def _shard_suffix(options: ReconstructOptions, until: Stage) -> str:
    """What tells the files of this shard from those of others; empty when the run is no shard."""
    if options.predict.shard is None:
        return ""
    if until != "predict" or options.run.overwrite or options.predict.ray:
        raise InputError(
            "--shard goes with `dust3r-sfm predict`, and neither with --overwrite nor --ray, because shards share an "
            "output folder; when all are done, `dust3r-sfm reconstruct` without --shard goes on."
        )
    return parse_shard(options.predict.shard).suffix


def _describe_run(
    run: RunFolder, images: ImageSet, predictor: PairPredictor, options: ReconstructOptions, until: Stage
) -> None:
    """Record what a reader of run.json wants to know; weights that cannot be used are noticed here, before any work."""
    will_predict = until != "pairs" and not (run.is_done("pairs") and run.is_done("predict"))
    known = run.record.get("predictor", {"name": predictor.name, "licence": predictor.licence})
    run.record |= {
        "versions": {
            "dust3r_sfm": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "pycolmap", "numpy", "scipy")},
        },
        "predictor": check_predictor(predictor) if will_predict else known,
        "options": asdict(options),
        "photographs": {
            "root": str(images.root.resolve()),
            "used": list(images.names),
            "dropped": {dropped.name: dropped.reason for dropped in images.dropped},
        },
    }
    run.save()
