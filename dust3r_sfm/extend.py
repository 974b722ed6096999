"""New photographs into an existing COLMAP model, which stays where it is to the last bit.

The photographs that overlap the new ones take part with their cameras and poses fixed; everything else is the chain of
`reconstruct`. Stages are resumed in the same way.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from dust3r_sfm.colmap.extension import add_images
from dust3r_sfm.colmap.model import Reconstruction, write_model
from dust3r_sfm.colmap.seeds import with_seeds
from dust3r_sfm.dense.workspace import write_workspace
from dust3r_sfm.errors import InputError
from dust3r_sfm.images.additions import find_additions, one_root, with_old_cameras
from dust3r_sfm.images.colmap_models import find_model, read_model
from dust3r_sfm.images.known import with_known
from dust3r_sfm.images.read import read_images
from dust3r_sfm.matching.windows import require_descriptors
from dust3r_sfm.options import ReconstructOptions
from dust3r_sfm.pairs.additions import pairs_with_new
from dust3r_sfm.pairs.graph import write_pairs
from dust3r_sfm.predictors.predictor import check_predictor, load_predictor
from dust3r_sfm.runs.folder import RunFolder, require_apart
from dust3r_sfm.runs.job import PAIRS, Job, Stage, artefacts, begin, work
from dust3r_sfm.runs.models import refined_models
from dust3r_sfm.runs.record import Facts, read_record
from dust3r_sfm.runs.stages import CHAIN, describe
from dust3r_sfm.runs.unread import Unread, all_of, refuse_unread
from dust3r_sfm.system.digest import digest, digest_of
from dust3r_sfm.system.lock import locked
from dust3r_sfm.system.parallel import workers
from dust3r_sfm.system.progress import Progress, Silent, Step
from dust3r_sfm.system.ranges import require_ranges
from dust3r_sfm.types import Dropped, ImageSet

_FRAME = "the model sets the frame and scale"
_UNREAD = (
    all_of("video", "it takes photographs; make them of a video with dust3r-sfm pairs"),
    Unread(group="known", names=("upright", "georegister", "gps", "control_points", "scale_distance"), why=_FRAME),
    Unread(group="predict", names=("shard",), why="shards are for `dust3r-sfm predict`"),
    all_of(
        "pairs", "it pairs new photographs with those that resemble them, --num-retrieved each", but=("num_retrieved",)
    ),
)

_NO_PAIR = "no pair of photographs has it"
"""Why a new photograph is left out that the selection of pairs passed over."""


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
            model cannot be used, there is nothing new, or an option is given that this does not read: those of other
            pairs, of shards and of the world's frame.
        OutputError: the output folder holds another run, is not writable, or the disk is full.
        ReconstructionError: no photograph overlaps another.
    """
    options = options or ReconstructOptions()
    # BLAS on one thread: the matrices are small, and its threads only wait for each other.
    with threadpool_limits(limits=1, user_api="blas"), workers(options.predict.num_workers), locked(out):
        return _extend(model, photos, out, options, image_root, progress or Silent())


def _extend(
    model: Path, photos: Path, out: Path, options: ReconstructOptions, image_root: Path | None, progress: Progress
) -> Extension:
    refuse_unread("extend", options, _UNREAD)
    require_ranges(options)
    require_apart(photos, out)
    require_apart(model, out)
    reconstruction = read_model(model)
    old_names = sorted(image.name for image in reconstruction.images.values() if image.has_pose)
    if not old_names:
        raise InputError(
            f"The model in {model} has no image with a pose; make one with dust3r-sfm reconstruct.", path=model
        )
    root = image_root or _recorded_root(model, old_names) or photos
    new_names, left_out = find_additions(photos, root, old_names)
    predictor = load_predictor(options.predict, options.run.seed)
    if options.match.fine_size is not None:
        require_descriptors(predictor)
    if not (out / "run.json").exists():
        check_predictor(predictor)
    chain = _chain(model, old_names)
    # The folder is ours before anything is put into it.
    RunFolder(out, {}, artefacts(chain), overwrite=options.run.overwrite)
    with progress.stage("images") as step:
        folder = one_root(photos, root, old_names, new_names, out / "photographs")
        images = read_images(folder, options.images, predictor.grid, [*old_names, *new_names], step)
    images = _fixed(images, reconstruction, model, options, left_out)
    job, run = begin(out, images, predictor, options, chain)
    run.record.extends = str(model.resolve())
    added = _new_names(job, old_names)
    work(job, run, chain, "pairs", progress)
    chain = (*chain[:-1], _adding(chain[-1], reconstruction, job.images, old_names))
    job = _paired(job)
    work(job, run, chain, "export", progress)
    summary = _summarize(run, job, len(old_names), added)
    run.record.summary = asdict(summary)
    run.save()
    return summary


def _chain(model: Path, old_names: Sequence[str]) -> tuple[Stage, ...]:
    """The stages of `reconstruct`, with pairs for the new images."""
    digest = _digest(model)

    def select(job: Job, step: Step) -> Facts:
        is_new = np.array([name not in old_names for name in job.originals.names])
        graph = pairs_with_new(is_new, job.options.pairs.num_retrieved, lambda: describe(job))
        write_pairs(job.out / PAIRS, job.images.names, graph)
        return Facts(warnings=list(job.images.warnings))

    images, pairs, predict, align, export = CHAIN
    return (
        replace(images, inputs=lambda found, options: {"model": digest, **images.inputs(found, options)}),
        replace(pairs, inputs=_pair_inputs, make=select),
        predict,
        align,
        export,
    )


def _adding(export: Stage, reconstruction: Reconstruction, every: ImageSet, old_names: Sequence[str]) -> Stage:
    """The last stage: refine the new cameras beside the old ones, and add them to the model of every photograph."""

    def add(job: Job, step: Step) -> Facts:
        refined = refined_models([job.scene], job.predictions, job.out, job.options, step, job.predictor)
        first = refined.models[0]
        num_points = add_images(reconstruction, first.model, set(first.names).intersection(_new_names(job, old_names)))
        write_model(reconstruction, job.out / "sparse" / "0")
        overwrite = job.options.run.overwrite
        seeded = with_seeds(reconstruction, first.seeds)
        write_workspace(job.out, seeded, every.root, every.views, overwrite=overwrite)
        return Facts(num_points=num_points, refinement=first.sentence, left_out=refined.left_out)

    return replace(export, make=add)


def _digest(model: Path) -> str:
    found = find_model(model)
    assert found is not None, "the model was read"
    files = sorted(file for file in found.iterdir() if file.suffix in (".bin", ".txt"))
    return digest_of([[file.name, digest(file)] for file in files])


def _pair_inputs(images: ImageSet, options: ReconstructOptions) -> dict[str, Any]:
    return {"num_retrieved": options.pairs.num_retrieved, "predictor": options.predict.predictor}


def _fixed(
    images: ImageSet, model: Reconstruction, source: Path, options: ReconstructOptions, left_out: Collection[Dropped]
) -> ImageSet:
    """Fix what the model knows, and what the user knows about the new photographs; name those that are left out."""
    old = {image.name for image in model.images.values() if image.has_pose}
    new = replace(images, views=tuple(view for view in images.views if view.name not in old))
    if not new.views:
        reasons = "".join(f"; {item.name} was left out: {item.reason}" for item in images.dropped[:3])
        raise InputError(f"There is no new photograph that can be used{reasons}; the model stays as it is.")
    given = {view.name: view for view in with_known(new, options.known).views}
    dropped = tuple(item for item in (*left_out, *images.dropped) if item.name not in old)
    return replace(with_old_cameras(images, model, source, given), dropped=dropped)


def _paired(job: Job) -> Job:
    """Leave out the photographs that no pair names."""
    used = np.unique(job.graph.edges).tolist()
    originals, images = (
        replace(part, views=tuple(part.views[index] for index in used)) for part in (job.originals, job.images)
    )
    return replace(job, originals=originals, images=images)


def _new_names(job: Job, old_names: Sequence[str]) -> list[str]:
    """What the new photographs are called now."""
    names = zip(job.originals.names, job.images.names, strict=True)
    return [name for original, name in names if original not in old_names]


def _summarize(run: RunFolder, job: Job, num_old: int, new_names: Sequence[str]) -> Extension:
    record = run.record
    left_out = record.left_out or {}
    dropped = dict(record.photographs.dropped) if record.photographs else {}
    placed = {image.name for image in read_model(run.path / "sparse" / "0").images.values()}
    missing = {name: left_out.get(name, _NO_PAIR) for name in new_names if name not in placed and name not in dropped}
    return Extension(
        out=run.path,
        num_old=num_old,
        added=tuple(name for name in new_names if name in placed),
        dropped=dropped | missing,
        num_points=record.num_points or 0,
        refinement=record.refinement or "none",
        warnings=(*job.images.warnings, *job.scene.warnings),
    )


def _recorded_root(model: Path, names: Sequence[str]) -> Path | None:
    """Where a model's photographs are: as its run.json says, or in a folder `images` beside it."""
    for folder in (model, *model.resolve().parents[:2]):
        photographs = read_record(folder).photographs
        for candidate in (folder / "images", *([Path(photographs.root)] if photographs else [])):
            if (candidate / names[0]).is_file():
                return candidate
    return None
