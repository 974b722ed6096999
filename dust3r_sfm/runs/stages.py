"""The table of stages: what each depends on, what it writes, and what it does.

`reconstruct` does them in order; `extend` does the same with the old images fixed and pairs of its own; `export` does
the last one alone.
"""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from dust3r_sfm.alignment import align
from dust3r_sfm.alignment.diagnosis import diagnose
from dust3r_sfm.alignment.doubt import Predictions, align_doubting
from dust3r_sfm.alignment.frame.anchor import anchored
from dust3r_sfm.alignment.frame.metric import metric_scene
from dust3r_sfm.colmap.database import write_database
from dust3r_sfm.colmap.model import Reconstruction, reconstruction_from_scene, with_points, write_model
from dust3r_sfm.dense.check import check_workspace
from dust3r_sfm.dense.pointmaps import write_pointmaps
from dust3r_sfm.dense.workspace import write_workspace
from dust3r_sfm.images.known import known_digest
from dust3r_sfm.images.load import load_original
from dust3r_sfm.matching.scene import match_scene
from dust3r_sfm.options import PredictorOptions, ReconstructOptions
from dust3r_sfm.pairs.graph import graph_warnings, write_pairs
from dust3r_sfm.pairs.select import select_pairs
from dust3r_sfm.predictors.cluster import predict_on_cluster
from dust3r_sfm.predictors.predictor import PairPredictor, load_predictor, predictor_facts
from dust3r_sfm.predictors.run import directed_edges, predict_pairs
from dust3r_sfm.predictors.store import PredictionStore, estimated_size
from dust3r_sfm.refinement.points import refined_tracks
from dust3r_sfm.refinement.refine import refine_scene
from dust3r_sfm.runs.job import PAIRS, PREDICTIONS, SCENE, Job, Stage
from dust3r_sfm.runs.record import Facts
from dust3r_sfm.scene_file import write_scene
from dust3r_sfm.single import predict_alone, scene_of_one, tracks_from_depth
from dust3r_sfm.system.progress import Step
from dust3r_sfm.types import ImageSet, Matches, PairGraph, Scene

logger = logging.getLogger("dust3r_sfm")


def _image_inputs(images: ImageSet, options: ReconstructOptions) -> dict[str, Any]:
    """The photographs count by name and size in bytes."""
    photographs = [(view.name, view.path.stat().st_size) for view in images.views]
    return {
        "photographs": hashlib.sha256(json.dumps(photographs).encode()).hexdigest(),
        "camera_sharing": options.images.camera_sharing,
        "masks": options.images.masks,
        **known_digest(images),
    }


def _pair_inputs(images: ImageSet, options: ReconstructOptions) -> dict[str, Any]:
    return asdict(options.pairs) | {"predictor": options.predict.predictor}


def _predict_inputs(images: ImageSet, options: ReconstructOptions) -> dict[str, Any]:
    """Not the device, the workers, and who does which share: they change the time."""
    predict = options.predict
    return predictor_facts(predict) | {"one_direction": predict.one_direction, "seed": options.run.seed}


def _align_inputs(images: ImageSet, options: ReconstructOptions) -> dict[str, Any]:
    scale = {name: value for name in ("georegister", "scale_distance") if (value := getattr(options.known, name))}
    return asdict(options.align) | scale


def _export_inputs(images: ImageSet, options: ReconstructOptions) -> dict[str, Any]:
    return asdict(options.match) | asdict(options.tracks) | asdict(options.refine)


def _select(job: Job, step: Step) -> Facts:
    selected = PairGraph(num_images=1, edges=np.zeros((0, 2), np.int64), weights=np.zeros(0))
    if len(job.images) > 1:
        selected = select_pairs(job.originals, job.options.pairs, lambda: describe(job))
    write_pairs(job.out / PAIRS, job.images.names, selected)
    return Facts(warnings=[*job.images.warnings, *graph_warnings(job.graph, job.images.names)])


def describe(job: Job) -> Float32[np.ndarray, "n d"]:
    """Global descriptors for retrieval: the predictor's own, else those of the embedded one."""
    descriptors = job.predictor.describe(job.images.views)
    if descriptors is None:
        embedded = load_predictor(PredictorOptions(num_workers=job.options.predict.num_workers), job.options.run.seed)
        descriptors = embedded.describe(job.images.views)
    assert descriptors is not None, "the embedded predictor describes every image"
    return descriptors


def _announce_size(job: Job) -> None:
    num_edges = len(directed_edges(job.graph, job.options.predict.one_direction))
    megabytes = estimated_size(job.images, num_edges, getattr(job.predictor, "descriptor_size", 0)) / 1e6
    logger.info("%d directed pairs; their predictions take at most %.0f MB of disk", num_edges, megabytes)


def _predict(job: Job, step: Step) -> Facts:
    options = job.options.predict
    predict = predict_on_cluster if options.ray else predict_pairs
    predict = predict if len(job.images) > 1 else predict_alone
    predict(job.predictor, job.images, job.graph, job.out / PREDICTIONS, options, step, job.options.run.seed)
    return Facts()


def _align(job: Job, step: Step) -> Facts:
    seed = job.options.run.seed
    if len(job.images) > 1:

        def solve(predictions: Predictions) -> tuple[Scene, ...]:
            return (align(job.images, predictions, job.options.align, seed, step),)

        (scene,) = align_doubting(solve, job.images, job.predictions)
    else:
        scene = anchored(scene_of_one(job.images, job.predictions), job.images)
    write_scene(job.out / SCENE, metric_scene(scene, job.options.known, seed))
    # The scene says of each pair what the pair graph could only fear.
    return Facts(warnings=list(job.images.warnings), diagnosis=diagnose(job.scene).as_json())


def _export(job: Job, step: Step) -> Facts:
    return write_colmap(job.scene, job.predictions, job.out, job.options, step, job.predictor)


CHAIN: tuple[Stage, ...] = (
    Stage(name="images", artefacts=("images", "images.*-of-*", "features.h5"), inputs=_image_inputs, make=None),
    Stage(name="pairs", artefacts=(PAIRS,), inputs=_pair_inputs, make=_select),
    Stage(
        name="predict",
        artefacts=("predictions*.h5*", "run.*-of-*.json"),
        inputs=_predict_inputs,
        make=_predict,
        announce=_announce_size,
    ),
    Stage(name="align", artefacts=(SCENE,), inputs=_align_inputs, make=_align),
    Stage(
        name="export",
        artefacts=("sparse", "dense", "dense_pointmaps", "database.db", "fused.ply*", "mesh.ply", "report.html"),
        inputs=_export_inputs,
        make=_export,
    ),
)


def write_colmap(
    scene: Scene,
    predictions: PredictionStore,
    out: Path,
    options: ReconstructOptions,
    step: Step,
    predictor: PairPredictor | None = None,
) -> Facts:
    """Write the COLMAP model of an aligned scene: sparse/0, database.db, and the workspaces dense/ and
    dense_pointmaps/.

    Its cameras are refined on keypoints (features.h5) first, where that makes them better. `predictor` is the one of
    the options, where it has been made.
    """
    refined = refined_model(scene, predictions, out, options, step, predictor)
    write_model(refined.model, out / "sparse" / "0")
    write_database(out / "database.db", refined.model, refined.matches)
    write_workspace(out, refined.model, scene.image_root, scene.views, overwrite=options.run.overwrite)
    write_pointmaps(out, refined.model, scene)
    return Facts(refinement=refined.sentence, findings=check_workspace(refined.model))


@dataclass(frozen=True, kw_only=True)
class RefinedModel:
    """The COLMAP model of a scene.

    Attributes:
        model: refined cameras and points.
        matches: what it was made of, in raw pixels.
        sentence: what refining the cameras came to.
    """

    model: Reconstruction
    matches: list[Matches]
    sentence: str


def refined_model(
    scene: Scene,
    predictions: PredictionStore,
    out: Path,
    options: ReconstructOptions,
    step: Step,
    predictor: PairPredictor | None = None,
) -> RefinedModel:
    """Match the pairs of an aligned scene, refine its cameras where that makes them better, and triangulate points.

    `predictor` is the one of the options, where it has been made; keypoints go to out/features.h5.
    """
    views = scene.views
    if predictor is None and options.match.fine_size is not None:
        predictor = load_predictor(options.predict, options.run.seed)
    found = match_scene(scene, views, predictions, options.match, step, options.predict.device, predictor)
    if scene.registered.sum() > 1:
        refinement = refine_scene(scene, found, out / "features.h5", options.refine, step)
        tracks = refined_tracks(refinement, found, options.tracks, lambda index: load_original(views[index]))
        return RefinedModel(
            model=with_points(refinement.model, tracks),
            matches=[*refinement.matches, *found],
            sentence=refinement.sentence,
        )
    tracks = tracks_from_depth(scene, options.tracks.max_points, lambda index: load_original(views[index]))
    model = reconstruction_from_scene(scene, tracks)
    return RefinedModel(model=model, matches=found, sentence="one camera as it is")
