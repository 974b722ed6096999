"""The table of stages: what each depends on, what it writes, and what it does.

`reconstruct` does them in order; `extend` does the same with the old images fixed and pairs of its own; `export` does
the last one alone.
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from dust3r_sfm.alignment import align_parts
from dust3r_sfm.alignment.diagnosis import diagnose
from dust3r_sfm.alignment.doubt import Predictions, align_doubting
from dust3r_sfm.alignment.frame.anchor import anchored
from dust3r_sfm.alignment.frame.metric import in_world, part_in_world
from dust3r_sfm.colmap.database import write_database
from dust3r_sfm.colmap.model import write_model
from dust3r_sfm.colmap.seeds import with_seeds
from dust3r_sfm.dense.check import check_workspace
from dust3r_sfm.dense.pointmaps import write_pointmaps
from dust3r_sfm.dense.workspace import write_workspace
from dust3r_sfm.errors import ReconstructionError
from dust3r_sfm.images.known import known_digest
from dust3r_sfm.images.priors.read import priors_digest
from dust3r_sfm.options import PredictorOptions, ReconstructOptions
from dust3r_sfm.pairs.graph import graph_warnings, write_pairs
from dust3r_sfm.pairs.select import select_pairs
from dust3r_sfm.predictors.classical.predictor import ClassicalPredictor
from dust3r_sfm.predictors.cluster import predict_on_cluster
from dust3r_sfm.predictors.predictor import PairPredictor, load_predictor, predictor_facts
from dust3r_sfm.predictors.run import directed_edges, predict_pairs
from dust3r_sfm.predictors.store import PredictionStore, estimated_size
from dust3r_sfm.runs.job import PAIRS, PREDICTIONS, SCENE, SCENES, Job, Stage
from dust3r_sfm.runs.models import refined_models
from dust3r_sfm.runs.record import Facts, photographs_digest
from dust3r_sfm.runs.world import GEOREGISTRATION, world_facts, write_georegistration
from dust3r_sfm.scene_file import write_scenes
from dust3r_sfm.single import predict_alone, scene_of_one
from dust3r_sfm.system.digest import contents_of
from dust3r_sfm.system.progress import Step, phase
from dust3r_sfm.types import ImageSet, PairGraph, Scene

logger = logging.getLogger("dust3r_sfm")


def _image_inputs(images: ImageSet, options: ReconstructOptions) -> dict[str, Any]:
    """The photographs and their masks count by name and content."""
    return {**photographs_digest(images), "camera_sharing": options.images.camera_sharing, **known_digest(images)}


def _pair_inputs(images: ImageSet, options: ReconstructOptions) -> dict[str, Any]:
    chosen = contents_of(asdict(options.pairs), ("pairs_file", "pairs_poses"))
    return chosen | {"predictor": options.predict.predictor}


def _predict_inputs(images: ImageSet, options: ReconstructOptions) -> dict[str, Any]:
    """Not the device, the workers, and who does which share: they change the time."""
    predict = options.predict
    return predictor_facts(predict) | {"one_direction": predict.one_direction, "seed": options.run.seed}


def _align_inputs(images: ImageSet, options: ReconstructOptions) -> dict[str, Any]:
    known = options.known
    world = {name: value for name in ("georegister", "scale_distance") if (value := getattr(known, name))}
    if not known.upright:
        world["upright"] = False
    return asdict(options.align) | world | priors_digest(images)


def _export_inputs(images: ImageSet, options: ReconstructOptions) -> dict[str, Any]:
    return export_inputs(options)


def export_inputs(options: ReconstructOptions) -> dict[str, Any]:
    """The options that the export stage depends on, files by their content."""
    refine = contents_of(asdict(options.refine), ("features", "matches"))
    return asdict(options.match) | asdict(options.tracks) | refine


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
    evidence = job.predictor.evidence if isinstance(job.predictor, ClassicalPredictor) else None
    return Facts(evidence=None if evidence is None else asdict(evidence))


def _why_nothing(job: Job, otherwise: str) -> str:
    """Why no pair has a known geometry; the pairs are looked at again where an earlier run predicted them."""
    if not isinstance(job.predictor, ClassicalPredictor):
        return otherwise
    if job.predictor.evidence is None:
        job.predictor.prepare(job.images, job.graph)
    assert job.predictor.evidence is not None, "a prepared predictor says what its pairs came to"
    return job.predictor.evidence.why_nothing()


def _align(job: Job, step: Step) -> Facts:
    seed = job.options.run.seed
    if len(job.images) > 1:

        def solve(predictions: Predictions) -> tuple[Scene, ...]:
            return align_parts(job.images, predictions, job.options.align, seed, step)

        try:
            scene, *others = align_doubting(solve, job.images, job.predictions)
        except ReconstructionError as error:
            raise ReconstructionError(_why_nothing(job, str(error))) from error
    else:
        scene, others = anchored(scene_of_one(job.images, job.predictions), job.images), []
    known, priors = job.options.known, job.images.priors
    placed = in_world(scene, known, priors, seed)
    write_scenes(job.out / SCENE, [placed, *(part_in_world(other, known, priors, seed) for other in others)])
    # The scene says of each pair what the pair graph could only fear.
    return Facts(warnings=list(job.images.warnings), diagnosis=diagnose(job.scene).as_json())


def _export(job: Job, step: Step) -> Facts:
    return write_colmap(job.scenes, job.predictions, job.out, job.options, step, job.predictor)


CHAIN: tuple[Stage, ...] = (
    Stage(name="images", artefacts=("images", "images.*-of-*", "features.h5"), inputs=_image_inputs, make=None),
    Stage(name="pairs", artefacts=(PAIRS,), inputs=_pair_inputs, make=_select),
    Stage(
        name="predict",
        artefacts=(
            *("predictions.h5", "predictions.h5.parts", "matching", "run.*-of-*.json"),
            *(f"{name}.*-of-*" for name in ("predictions", "matching")),
        ),
        inputs=_predict_inputs,
        make=_predict,
        announce=_announce_size,
    ),
    Stage(name="align", artefacts=(SCENE, SCENES), inputs=_align_inputs, make=_align),
    Stage(
        name="export",
        artefacts=(
            *("sparse", "dense", "dense_pointmaps", "database.db", "database.db-*", GEOREGISTRATION),
            *("fused.ply", "fused.ply.vis", "mesh.ply", "report.html"),
        ),
        inputs=_export_inputs,
        make=_export,
    ),
)


def write_colmap(
    scenes: Sequence[Scene],
    predictions: PredictionStore,
    out: Path,
    options: ReconstructOptions,
    step: Step,
    predictor: PairPredictor | None = None,
) -> Facts:
    """Write the COLMAP models of aligned scenes: sparse/0, sparse/1, …, largest first; of the largest also database.db
    and the workspaces dense/ and dense_pointmaps/.

    Their cameras are refined on keypoints (features.h5) first, where that makes them better. `predictor` is the one of
    the options, where it has been made.
    """
    refined = refined_models(scenes, predictions, out, options, step, predictor)
    phase("model")
    sparse, (first, *others) = out / "sparse", refined.models
    for number, one in enumerate(refined.models):
        write_model(one.model, sparse / str(number))
    forget_models_from(len(refined.models), sparse)
    write_database(out / "database.db", first.model, first.matches)
    phase("dense workspace")
    seeded = with_seeds(first.model, first.seeds)
    write_workspace(out, seeded, first.scene.image_root, first.scene.views, overwrite=options.run.overwrite)
    phase("depth maps")
    write_pointmaps(out, first.model, first.scene)
    world = world_facts(first.model, first.scene)
    write_georegistration(out / GEOREGISTRATION, first.scene.priors)
    return Facts(
        refinement=first.sentence,
        findings=[*world.warnings, *check_workspace(first.model)],
        world={"sentence": world.sentence, **world.content},
        left_out=refined.left_out,
        apart=[
            {"model": f"sparse/{number}", "photographs": list(one.names), "reason": one.apart}
            for number, one in enumerate(others, start=1)
        ],
    )


def forget_models_from(number: int, sparse: Path) -> None:
    """Remove sparse/NUMBER and those after it, which an earlier run left."""
    for stale in sparse.glob("[0-9]*"):
        if stale.is_dir() and stale.name.isdecimal() and int(stale.name) >= number:
            shutil.rmtree(stale)
