"""The whole chain: a folder of photographs in, a COLMAP model out.

Each stage leaves its file in the output folder and is skipped when that file is there and nothing it depends on has
changed, so a killed run goes on where it was, and a changed option redoes only what follows from it.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from threadpoolctl import threadpool_limits

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.foreign.camera import ForeignCamera
from dust3r_sfm.images.known import with_known
from dust3r_sfm.images.priors.read import with_priors
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.straight import is_placed, straight_camera, straighten_photographs, strong_lenses, write_cameras
from dust3r_sfm.matching.windows import require_descriptors
from dust3r_sfm.options import ReconstructOptions, RefineCommand
from dust3r_sfm.predictors.classical.predictor import ClassicalPredictor
from dust3r_sfm.predictors.dust3r import NetworkPredictor
from dust3r_sfm.predictors.predictor import PairPredictor, load_predictor
from dust3r_sfm.predictors.shard import parse_shard
from dust3r_sfm.refine_cameras import refine_given
from dust3r_sfm.report import write_report
from dust3r_sfm.runs.folder import STRAIGHTENED, require_apart
from dust3r_sfm.runs.frames import with_frames
from dust3r_sfm.runs.job import SCENE, begin, work
from dust3r_sfm.runs.stages import CHAIN
from dust3r_sfm.runs.summary import Summary, require_trust, summarize
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.system.lock import locked
from dust3r_sfm.system.parallel import workers
from dust3r_sfm.system.progress import Progress, Silent, phase
from dust3r_sfm.system.ranges import require_ranges
from dust3r_sfm.tracks.cameras import posed_cameras
from dust3r_sfm.types import ImageSet, KnownCamera

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
        photos: folder of photographs, sub-folders included; a video; or a list of files and folders (see `read_images`
            and `with_frames`).
        out: output folder: pairs.txt, predictions.h5, scene.h5, sparse/0, database.db, dense, run.json.
        options: options of every stage.
        until: last stage to run.
        progress: shows the stages; silent by default.

    Returns:
        What the run came to, or None when it ends before the model is written.

    Raises:
        InputError: the photographs or options cannot be used.
        OutputError: the output folder holds another run, is not writable, or the disk is full.
        ReconstructionError: the photographs do not overlap or were taken from one place; the model is doubtful, and
            `options.images.strict`.
    """
    options = options or ReconstructOptions()
    require_ranges(options)
    # BLAS on one thread: the matrices are small, and its threads only wait for each other.
    blas = threadpool_limits(limits=1, user_api="blas")
    with blas, workers(options.predict.num_workers), locked(out, shared=options.predict.shard is not None):
        return _reconstruct(photos, out, options, until, progress or Silent())


def _reconstruct(
    photos: Path | Sequence[Path], out: Path, options: ReconstructOptions, until: Stage, progress: Progress
) -> Summary | None:
    suffix = _shard_suffix(options, until)
    predictor = load_predictor(options.predict, options.run.seed)
    if options.match.fine_size is not None:
        require_descriptors(predictor)
    for source in [photos] if isinstance(photos, Path) else photos:
        require_apart(source, out)
    photos = with_frames(photos, out, options.video.frames, progress, overwrite=options.run.overwrite)
    with progress.stage("images") as step:
        images = read_images(photos, options.images, predictor.grid, progress=step)
        phase("lenses")
        given = strong_lenses(images, options.known) if until == "export" else {}
        found = {} if given or not _may_search_lens(out, options, until) else _found_lenses(predictor, images)
        lenses = given or found
        images = images if lenses else with_priors(with_known(images, options.known), options.known)
    _require_enough(images, predictor)
    if lenses:
        return _reconstruct_straightened(images, lenses, out, options, progress, holds_lenses=bool(given))
    job, run = begin(out, images, predictor, options, CHAIN, until, suffix)
    work(job, run, CHAIN, until, progress)
    if until != "export":
        for dropped in images.dropped:  # a whole run says so in its summary
            logger.warning("%s was left out: %s", dropped.name, dropped.reason)
        return None
    summary = summarize(run, job.images, job.scene)
    write_report(out)
    require_trust(summary, options.images.strict)
    return summary


def _may_search_lens(out: Path, options: ReconstructOptions, until: Stage) -> bool:
    """Whether strong lenses are looked for: nothing is known, and no run has gone on without them."""
    known = options.known
    is_open = known.intrinsics is None and known.poses is None and not is_placed(known)
    went_on = (out / "run.json").is_file() and not (out / STRAIGHTENED).is_dir() and not options.run.overwrite
    wants_bend = options.refine.camera_model not in ("SIMPLE_PINHOLE", "PINHOLE")
    return until == "export" and is_open and wants_bend and not went_on


def _found_lenses(predictor: PairPredictor, images: ImageSet) -> dict[str, KnownCamera]:
    return predictor.find_strong_lenses(images.views) if isinstance(predictor, ClassicalPredictor) else {}


def _reconstruct_straightened(
    images: ImageSet,
    lenses: Mapping[str, KnownCamera],
    out: Path,
    options: ReconstructOptions,
    progress: Progress,
    *,
    holds_lenses: bool,
) -> Summary:
    """Align straight pictures of the photographs, then refine the cameras at the photographs' own pixels."""
    folder = out / STRAIGHTENED
    names = straighten_photographs(images, lenses, folder)
    write_cameras(folder / "cameras.json", {names[name]: straight_camera(lens) for name, lens in lenses.items()})
    masks = folder / "masks" if (folder / "masks").is_dir() else None
    inner = replace(
        options,
        images=replace(options.images, masks=masks),
        known=replace(options.known, intrinsics=str(folder / "cameras.json")),
    )
    _reconstruct(folder / "images", folder / "run", inner, "align", progress)
    scene = read_scene(folder / "run" / SCENE)
    name_of = {straight: name for name, straight in names.items()}
    given = {
        name_of[name]: ForeignCamera(cam_from_world=pose, camera=lenses[name_of[name]])
        for name, pose, registered in zip(
            scene.names, posed_cameras(scene).cam_from_world, scene.registered, strict=True
        )
        if registered
    }
    how = RefineCommand(images=options.images, tracks=options.tracks, refine=options.refine, run=options.run)
    return refine_given(given, images, folder, out, how, progress, holds_lenses)


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
