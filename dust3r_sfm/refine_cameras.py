"""`dust3r-sfm refine CAMERAS PHOTOS OUT`: rough cameras of any program in, the same at the precision of keypoints out.

It is the refinement of `reconstruct` with another start: rough cameras are put where matches say that they are, and
from there on everything is as after the alignment. The model stands in the frame and scale of the given cameras.
"""

import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from dust3r_sfm import __version__
from dust3r_sfm.colmap.camera_models import cameras_of
from dust3r_sfm.colmap.database import write_database
from dust3r_sfm.colmap.model import NO_TRACKS, Reconstruction, write_model
from dust3r_sfm.colmap.seeds import with_seeds
from dust3r_sfm.correction.correct import correct, scene_of
from dust3r_sfm.correction.frame import extent_of, given_from_found
from dust3r_sfm.correction.relative import LooseMatcher
from dust3r_sfm.correction.rotations import ROUGH_DEGREES
from dust3r_sfm.correction.rough import normalized, rough_model, share_cameras, with_strong_lens
from dust3r_sfm.dense.check import check_workspace
from dust3r_sfm.dense.workspace import write_workspace
from dust3r_sfm.errors import InputError
from dust3r_sfm.features.hloc_matches import read_hloc_matches
from dust3r_sfm.geometry.transforms import centres, rotation_angle
from dust3r_sfm.images.foreign.camera import ForeignCamera
from dust3r_sfm.images.foreign.read import read_foreign
from dust3r_sfm.images.known import add_known, known_digest
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.transcode import transcode
from dust3r_sfm.options import ReconstructOptions, RefineCommand, RefineOptions
from dust3r_sfm.refinement.refine import refine
from dust3r_sfm.refinement.state import RefinementState
from dust3r_sfm.registration.matcher import GivenMatcher, PairMatcher
from dust3r_sfm.registration.part import Part
from dust3r_sfm.report.page import write_report
from dust3r_sfm.runs.folder import RunFolder, require_apart
from dust3r_sfm.runs.models import features_of, models_of_parts
from dust3r_sfm.runs.record import Facts, Photographs, photographs_digest, read_record
from dust3r_sfm.runs.summary import Summary, require_trust, summarize
from dust3r_sfm.scene_file import read_scene, write_scenes
from dust3r_sfm.system.digest import contents_of, digest_of, recall, remember
from dust3r_sfm.system.lock import locked
from dust3r_sfm.system.parallel import workers
from dust3r_sfm.system.progress import Progress, Silent, Step
from dust3r_sfm.system.ranges import require_ranges
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.types import ImageSet

_ARTEFACTS = {
    "images": ("images", "features.h5"),
    "refine": ("sparse", "scene.h5", "dense", "database.db", "report.html"),
}
"""What each stage writes; see `RunFolder`."""

_ROUGH_OF_EXTENT = 0.3
"""Distance from its given place, over the largest between two cameras, from which a camera was wrong and not rough;
chosen by hand."""


def refine_cameras(
    cameras: Path,
    photos: Path,
    out: Path,
    options: RefineCommand | None = None,
    *,
    progress: Progress | None = None,
) -> Summary:
    """Refine the cameras that another program estimated.

    Args:
        cameras: a COLMAP model's folder, transforms.json, poses.json, or a file of Bundler, VisualSFM, Metashape or
            Polycam (see `images.foreign.read`).
        photos: folder of photographs, matched by name; those that the file lacks are registered beside the others.
        out: output folder: sparse/0, database.db, dense, scene.h5, features.h5, report.html, run.json.
        options: how photographs are read, and how cameras are refined.
        progress: shows the stages; silent by default.

    Returns:
        What the run came to; the model is in the frame and scale of the given cameras.

    Raises:
        InputError: the cameras or photographs cannot be used, or contradict each other.
        OutputError: the output folder holds another run, is not writable, or the disk is full.
    """
    options = options or RefineCommand()
    with threadpool_limits(limits=1, user_api="blas"), workers(0), locked(out):
        return _refine(cameras, photos, out, options, progress or Silent())


def _refine(cameras: Path, photos: Path, out: Path, options: RefineCommand, progress: Progress) -> Summary:
    if options.refine.refine not in ("auto", "keypoints"):
        raise InputError(
            f"`dust3r-sfm refine` does not read --refine {options.refine.refine}: cameras are refined by keypoints."
        )
    if options.refine.matches and not options.refine.features:
        raise InputError("--matches numbers the keypoints of a feature file: give it with --features.")
    require_ranges(options)
    with progress.stage("images") as step:
        images = read_images(photos, options.images, progress=step)
    given, warnings = read_foreign(cameras, images)
    require_apart(photos, out)
    require_apart(cameras, out)
    images = share_cameras(images, given, options.images.camera_sharing)
    images = replace(images, warnings=(*images.warnings, *warnings))
    return refine_given(given, images, cameras, out, options, progress)


def refine_given(
    given: Mapping[str, ForeignCamera],
    images: ImageSet,
    source: Path,
    out: Path,
    options: RefineCommand,
    progress: Progress,
    holds_lenses: bool = False,
) -> Summary:
    """Refine cameras that are read already; see `refine_cameras`.

    Args:
        given: rough cameras of the photographs by name, lenses in raw pixels.
        images: the photographs, as many as share a camera in one group.
        source: where the cameras are from; for run.json and for sentences.
        out: output folder.
        options: how they are refined.
        progress: shows the stages.
        holds_lenses: whether the given lenses stay exactly as they are.

    Returns:
        What the run came to.
    """
    if holds_lenses:
        images = add_known(images, {name: one.camera for name, one in given.items() if one.camera is not None}, {})
    run = _begin(source, out, images, given, options)
    originals, images = images, transcode(images, out / "images")
    given = {new: given[old] for old, new in zip(originals.names, images.names, strict=True) if old in given}
    if not run.is_done("refine"):
        started = time.perf_counter()
        with progress.stage("refine") as step:
            facts = _write(source, images, given, out, options, step)
        facts.warnings = [*images.warnings, *(facts.warnings or ())]
        run.finish("refine", time.perf_counter() - started, facts)
    summary = summarize(run, images, read_scene(out / "scene.h5"))
    write_report(out)
    require_trust(summary, options.images.strict)
    return summary


def _begin(
    cameras: Path, out: Path, images: ImageSet, given: Mapping[str, ForeignCamera], options: RefineCommand
) -> RunFolder:
    """Take the output folder and say in run.json what the run is."""
    recall(out)
    photographs = Photographs.of(images)
    known = [(name, camera.cam_from_world.tolist(), str(camera.camera)) for name, camera in sorted(given.items())]
    inputs: dict[str, dict[str, Any]] = {
        "images": photographs_digest(images),
        "refine": {
            "cameras": digest_of(known),
            "camera_sharing": options.images.camera_sharing,
            **known_digest(images),
            "seed": options.run.seed,
            **asdict(options.tracks),
            **contents_of(asdict(options.refine), ("features", "matches")),
        },
    }
    run = RunFolder(out, inputs, _ARTEFACTS, photographs=photographs, overwrite=options.run.overwrite)
    remember(out)
    run.record.versions = {
        "dust3r_sfm": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("pycolmap", "numpy", "scipy")},
    }
    run.record.refines = str(cameras.resolve())
    # The cameras may come from a run of this program, on straight pictures.
    inner = read_record(cameras / "run").predictor if cameras.is_dir() else None
    run.record.predictor = inner or {"name": "none", "licence": f"cameras of {cameras.name}"}
    run.record.options = asdict(options)
    run.record.photographs = photographs
    run.save()
    return run


def _write(
    cameras: Path,
    images: ImageSet,
    given: Mapping[str, ForeignCamera],
    out: Path,
    options: RefineCommand,
    step: Step,
) -> Facts:
    """Refine, bring the models to the given frame, and write them."""
    rough, lens = rough_model(images, given), None
    if not all(view.known_camera for view in images.views):
        rough, lens = with_strong_lens(rough, cameras)
    whole = ReconstructOptions(images=options.images, tracks=options.tracks, refine=options.refine, run=options.run)
    features = features_of(images.views, out / "features.h5", whole, step)
    match: PairMatcher = LooseMatcher(features)
    if options.refine.matches is not None:
        match = GivenMatcher(read_hloc_matches(options.refine.matches, images.names, features))
    starts = correct(images, normalized(rough), cameras, match, options.run.seed, step)
    how = _with_lens(options.refine, lens)
    parts = [
        Part(
            scene=start.scene,
            refinement=refine(start.scene, (), features, how, step, start=start.state, matches=start.matches),
            found=(),
        )
        for start in starts
    ]
    refined = models_of_parts(parts, None, out, whole, step)
    sentences: list[str] = []
    for number, one in enumerate(refined.models):
        sentences += _to_given_frame(one.model, rough, images)
        write_model(one.model, out / "sparse" / str(number))
    first, *others = refined.models
    write_database(out / "database.db", first.model, first.matches)
    write_workspace(out, with_seeds(first.model, NO_TRACKS), images.root, images.views, overwrite=options.run.overwrite)
    state = RefinementState(model=first.model, depths=AlignedDepths.of(first.scene))
    write_scenes(out / "scene.h5", [scene_of(images, state, starts[0].matches)])
    return Facts(
        warnings=sentences,
        refinement=first.sentence,
        findings=check_workspace(first.model),
        left_out=refined.left_out,
        apart=[
            {"model": f"sparse/{number}", "photographs": list(one.names), "reason": one.apart}
            for number, one in enumerate(others, start=1)
        ],
    )


@dataclass(frozen=True, kw_only=True)
class _LensOptions(RefineOptions):
    """Options with a camera model that can only start from a given lens: any of COLMAP's."""

    camera_model: Any = "auto"


def _with_lens(options: RefineOptions, lens: str | None) -> RefineOptions:
    """Keep the camera model of a strong lens: the simpler ones cannot show it."""
    if lens is None or options.camera_model != "auto":
        return options
    return _LensOptions(**(vars(options) | {"camera_model": lens}))


def _to_given_frame(model: Reconstruction, rough: Reconstruction, images: ImageSet) -> list[str]:
    """Move a model to where its given cameras stand, and name the cameras that were more than rough."""
    from dust3r_sfm.system._pycolmap import pycolmap

    given, found = (cameras_of(one, len(images)) for one in (rough, model))
    both = np.flatnonzero(given.posed & found.posed)
    if len(both) < 2:
        return []
    fit, heeded = given_from_found(found.cam_from_world[both], given.cam_from_world[both])
    model.transform(pycolmap.Sim3d(fit[:3]))
    placed = cameras_of(model, len(images)).cam_from_world[both]
    there = given.cam_from_world[both]
    turns = rotation_angle(placed[:, :, :3] @ np.swapaxes(there[:, :, :3], 1, 2))
    extent = extent_of(centres(there)[heeded])
    shares = np.linalg.norm(centres(placed) - centres(there), axis=1) / max(extent, 1e-300)
    return [
        f"{images.names[index]} was given wrongly: it is moved by {100 * share:.0f} % of the scene and turned by "
        f"{turn:.0f} degrees."
        for index, turn, share in zip(both.tolist(), turns.tolist(), shares.tolist(), strict=True)
        if turn > ROUGH_DEGREES or share > _ROUGH_OF_EXTENT
    ]
