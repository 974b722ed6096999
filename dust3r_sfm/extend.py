"""New photographs into an existing COLMAP model, which stays where it is to the last bit.

The photographs that overlap the new ones take part with their cameras and poses fixed; everything else is the chain of
`reconstruct`. Stages are resumed in the same way.
"""

import functools
import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from dust3r_sfm import __version__
from dust3r_sfm.alignment import align
from dust3r_sfm.colmap.extension import add_images
from dust3r_sfm.colmap.model import Reconstruction, with_points, write_model
from dust3r_sfm.dense.workspace import write_workspace
from dust3r_sfm.errors import InputError
from dust3r_sfm.images.additions import find_additions, one_root
from dust3r_sfm.images.colmap_models import find_model, read_model
from dust3r_sfm.images.known import add_known, known_digest, with_known
from dust3r_sfm.images.known_cameras import check_cameras, known_camera
from dust3r_sfm.images.load import load_original
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.transcode import transcode
from dust3r_sfm.matching.scene import match_scene
from dust3r_sfm.matching.windows import require_descriptors
from dust3r_sfm.options import PredictOptions, ReconstructOptions
from dust3r_sfm.pairs.additions import pairs_with_new
from dust3r_sfm.pairs.graph import pair_graph, read_pairs, write_pairs
from dust3r_sfm.predictors.predictor import PairPredictor, load_predictor
from dust3r_sfm.predictors.run import predict_pairs
from dust3r_sfm.predictors.store import PredictionStore
from dust3r_sfm.refinement.points import refined_tracks
from dust3r_sfm.refinement.refine import refine_scene
from dust3r_sfm.runs.folder import RunFolder, read_record, require_apart
from dust3r_sfm.scene_file import read_scene, write_scene
from dust3r_sfm.system.progress import Progress, Silent, Step
from dust3r_sfm.types import ImageSet, PairGraph, Scene, View


@dataclass(frozen=True, kw_only=True)
class Extension:
    """What an extension came to.

    Attributes:
        out: the output folder.
        num_old: images that the model had.
        added: names of the photographs that it has now.
        dropped: {name: reason} of the new photographs that it has not.
        num_points: points that were added.
        refinement: what refining the new cameras came to.
        warnings: sentences for the user.
    """

    out: Path
    num_old: int
    added: tuple[str, ...]
    dropped: dict[str, str]
    num_points: int
    refinement: str
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        """The closing lines of the command."""
        lines = [
            f"added               {len(self.added)} of {len(self.added) + len(self.dropped)} photographs to "
            f"{self.num_old}",
            f"points              {self.num_points} more",
            f"refinement          {self.refinement}",
        ]
        lines += [f"left out            {name}: {reason}" for name, reason in self.dropped.items()]
        lines += [f"warning             {sentence}" for sentence in self.warnings]
        return "\n".join([*lines, f"model               {self.out / 'sparse' / '0'}"])


def extend(
    model: Path,
    photos: Path,
    out: Path,
    options: ReconstructOptions | None = None,
    *,
    image_root: Path | None = None,
    progress: Progress | None = None,
) -> Extension:
    """Register new photographs into a model.

    Args:
        model: folder of a COLMAP model, or an output folder; it is read only.
        photos: folder of the new photographs; those whose name and bytes the model's photographs have are passed over.
        out: output folder: sparse/0, dense, run.json and what the stages leave.
        options: of every stage; `known` speaks of the new photographs. A new photograph that shares its camera with
            old ones (see `camera_sharing`) takes that camera as it is.
        image_root: folder of the model's photographs; default: what its run.json or its neighbourhood says.
        progress: shows the stages; silent by default.

    Returns:
        What was added. Old cameras, poses and points are bitwise those of `model`.

    Raises:
        InputError: the model or its photographs cannot be read, a photograph changed under its name, a camera of the
            model cannot be used, or there is nothing new.
        OutputError: the output folder holds another run, is not writable, or the disk is full.
        ReconstructionError: no photograph overlaps another.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        return _extend(model, photos, out, options or ReconstructOptions(), image_root, progress or Silent())


def _extend(
    model: Path, photos: Path, out: Path, options: ReconstructOptions, image_root: Path | None, progress: Progress
) -> Extension:
    if options.known.georegister or options.known.scale_distance:
        raise InputError("The model sets the frame and scale; drop --georegister and --scale-distance.")
    require_apart(photos, out)
    require_apart(model, out)
    reconstruction = read_model(model)
    old_names = sorted(image.name for image in reconstruction.images.values() if image.has_pose)
    if not old_names:
        raise InputError(f"The model in {model} has no image with a pose; make one with dust3r-sfm reconstruct.")
    root = image_root or _recorded_root(model, old_names) or photos
    new_names, left_out = find_additions(photos, root, old_names)
    predictor = load_predictor(options.predict, options.run.seed)
    if options.match.fine_size is not None:
        require_descriptors(predictor)
    RunFolder(out, {}, overwrite=options.run.overwrite)  # the folder is ours before anything is put into it
    with progress.stage("images") as step:
        folder = one_root(photos, root, old_names, new_names, out / "photographs")
        images = read_images(folder, options.images, predictor.grid, [*old_names, *new_names], step)
    images = _with_old(images, reconstruction, model, options)
    dropped = {item.name: item.reason for item in (*left_out, *images.dropped) if item.name not in old_names}
    run = RunFolder(out, _stage_inputs(images, model, options), overwrite=options.run.overwrite)
    originals, images = images, transcode(images, out / "images")
    renamed = dict(zip(originals.names, images.names, strict=True))
    new_names = [renamed.get(name, name) for name in new_names]
    run.record |= {
        "versions": {"dust3r_sfm": __version__},
        "predictor": {"name": predictor.name, "licence": predictor.licence},
        "options": asdict(options),
        "extends": str(model.resolve()),
        "photographs": {"root": str(images.root.resolve()), "used": list(images.names), "dropped": dropped},
    }

    pairs_path, predictions_path, scene_path = out / "pairs.txt", out / "predictions.h5", out / "scene.h5"
    if not run.is_done("pairs"):
        with _timed(run, "pairs", progress):
            is_new = np.array([name not in old_names for name in images.names])
            describe = functools.partial(_describe, predictor, images, options)
            write_pairs(pairs_path, images.names, pairs_with_new(is_new, options.pairs.num_retrieved, describe))
    images, graph = _taking_part(images, read_pairs(pairs_path, images.names))
    if not run.is_done("predict"):
        with _timed(run, "predict", progress) as step:
            predict_pairs(predictor, images, graph, predictions_path, options.predict, step, options.run.seed)
    predictions = PredictionStore(predictions_path, images.names)
    if not run.is_done("align"):
        with _timed(run, "align", progress) as step:
            scene = align(images, predictions, options.align, options.run.seed, step)
            write_scene(scene_path, scene)
    scene = read_scene(scene_path)
    placed = {name for name, registered in zip(scene.names, scene.registered, strict=True) if registered}
    added = tuple(name for name in new_names if name in placed)
    missing = [name for name in new_names if name not in placed and name not in dropped]
    dropped |= dict.fromkeys(missing, "no reliable pair connects it to the model")
    if not run.is_done("export"):
        with _timed(run, "export", progress) as step:
            run.record |= _write(reconstruction, scene, predictions, added, out, options, step, predictor)
        run.save()
    summary = Extension(
        out=out,
        num_old=len(old_names),
        added=added,
        dropped=dropped,
        num_points=run.record["num_points"],
        refinement=run.record["refinement"],
        warnings=(*images.warnings, *scene.warnings),
    )
    run.record["summary"] = asdict(summary)
    run.save()
    return summary


def _write(
    reconstruction: Reconstruction,
    scene: Scene,
    predictions: PredictionStore,
    added: Sequence[str],
    out: Path,
    options: ReconstructOptions,
    step: Step,
    predictor: PairPredictor,
) -> dict[str, Any]:
    """Refine the new cameras beside the old ones, write the model with them, and say what was done."""
    views = scene.views
    found = match_scene(scene, views, predictions, options.match, step, options.predict.device, predictor)
    refinement = refine_scene(scene, found, out / "features.h5", options.refine, step)
    tracks = refined_tracks(refinement, found, options.tracks, lambda index: load_original(views[index]))
    num_points = add_images(reconstruction, with_points(refinement.model, tracks), set(added))
    write_model(reconstruction, out / "sparse" / "0")
    write_workspace(out, reconstruction, scene.image_root)
    return {"num_points": num_points, "refinement": refinement.sentence}


def _with_old(images: ImageSet, model: Reconstruction, source: Path, options: ReconstructOptions) -> ImageSet:
    """Fix what the model knows, and what the user knows about the new photographs."""
    old = {image.name: image for image in model.images.values() if image.has_pose}
    new = replace(images, views=tuple(view for view in images.views if view.name not in old))
    if not new.views:
        raise InputError("There is no new photograph that can be used; the model stays as it is.")
    given = {view.name: view for view in with_known(new, options.known).views}
    cameras = {name: known_camera(image.camera) for name, image in old.items()}
    check_cameras(cameras, images.views, source)
    poses = {name: np.asarray(image.cam_from_world().matrix()) for name, image in old.items()}
    of_group = {
        group: {cameras[view.name] for view in images.views if view.name in old and view.camera_group == group}
        for group in {view.camera_group for view in images.views}
    }
    for view in new.views:
        known, shared = given[view.name].known_camera, of_group[view.camera_group]
        if known is not None or len(shared) == 1:
            cameras[view.name] = known or next(iter(shared))
    complete = add_known(images, cameras, poses)
    return replace(complete, views=tuple(_posed(view, given.get(view.name)) for view in complete.views))


def _posed(view: View, given: View | None) -> View:
    return view if given is None else replace(view, known_cam_from_world=given.known_cam_from_world)


def _describe(predictor: PairPredictor, images: ImageSet, options: ReconstructOptions) -> np.ndarray:
    """Global descriptors for retrieval: the predictor's own, else those of the embedded one."""
    descriptors = predictor.describe(images.views)
    if descriptors is None:
        embedded = load_predictor(PredictOptions(num_workers=options.predict.num_workers), options.run.seed)
        descriptors = embedded.describe(images.views)
    assert descriptors is not None, "the embedded predictor describes every image"
    return descriptors


def _taking_part(images: ImageSet, graph: PairGraph) -> tuple[ImageSet, PairGraph]:
    """Leave out the photographs that no pair names."""
    used = np.unique(graph.edges)
    position = np.full(len(images), -1, np.int64)
    position[used] = np.arange(len(used))
    part = replace(images, views=tuple(images.views[index] for index in used.tolist()))
    return part, pair_graph(len(used), position[graph.edges], graph.weights)


def _recorded_root(model: Path, names: Sequence[str]) -> Path | None:
    """Where a model's photographs are: as its run.json says, or in a folder `images` beside it."""
    for folder in (model, *model.resolve().parents[:2]):
        root = read_record(folder).get("photographs", {}).get("root")
        for candidate in (folder / "images", *([Path(root)] if root else [])):
            if (candidate / names[0]).is_file():
                return candidate
    return None


def _stage_inputs(images: ImageSet, model: Path, options: ReconstructOptions) -> dict[str, dict[str, Any]]:
    """What each stage's result depends on, as JSON values."""
    found = find_model(model)
    assert found is not None, "the model was read"
    files = sorted(file for file in found.iterdir() if file.suffix in (".bin", ".txt"))
    digest = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files))
    photographs = [(view.name, view.path.stat().st_size) for view in images.views]
    speed = ("device", "num_workers", "max_encoded")
    predict = {name: value for name, value in asdict(options.predict).items() if name not in speed}
    return {
        "images": {
            "model": digest.hexdigest(),
            "photographs": hashlib.sha256(repr(photographs).encode()).hexdigest(),
            "masks": options.images.masks,
            **known_digest(images),
        },
        "pairs": {"num_retrieved": options.pairs.num_retrieved, "predictor": options.predict.predictor},
        "predict": predict | {"seed": options.run.seed},
        "align": asdict(options.align),
        "export": asdict(options.match) | asdict(options.tracks) | asdict(options.refine),
    }


@contextmanager
def _timed(run: RunFolder, stage: str, progress: Progress) -> Iterator[Step]:
    started = time.perf_counter()
    with progress.stage(stage) as step:
        yield step
    run.finish(stage, time.perf_counter() - started)
