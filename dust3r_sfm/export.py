"""`python -m dust3r_sfm.export SOURCE OUT --colmap`: the step before `colmap patch_match_stereo`.

SOURCE is a folder of photographs, which is reconstructed first, or the output folder (or scene.h5) of an earlier run.
Other formats are written from the run's model: --nerfstudio, --ply, --glb, --hloc.
"""

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import tyro

from dust3r_sfm.errors import InputError, OutputError
from dust3r_sfm.options import ReconstructOptions
from dust3r_sfm.runs.unread import Unread, all_of, refuse_unread
from dust3r_sfm.system.lock import locked
from dust3r_sfm.system.progress import Progress, Silent, Step
from dust3r_sfm.system.terminal import Terminal, run_command

if TYPE_CHECKING:
    from dust3r_sfm.runs.record import Facts
    from dust3r_sfm.runs.summary import Summary

Format = Literal["colmap", "nerfstudio", "ply", "glb", "hloc"]

WRITTEN: dict[Format, tuple[str, ...]] = {
    "colmap": ("sparse", "database.db", "dense", "dense_pointmaps"),
    "nerfstudio": ("nerfstudio",),
    "ply": ("points.ply",),
    "glb": ("model.glb",),
    "hloc": ("hloc",),
}
"""What each format leaves in the output folder."""

ONLY_COLMAP: tuple[Format, ...] = ("colmap",)

_DONE = "SOURCE is a run that has done this already"
_AS_IT_IS = "without --colmap the model of the run is taken as it is"
_UNREAD_OF_RUN = (
    Unread(group="images", names=("camera_sharing", "strict"), why=_DONE),
    all_of("video", _DONE),
    all_of("known", _DONE),
    all_of("pairs", _DONE),
    Unread(group="predict", names=("one_direction", "max_encoded", "shard", "ray"), why=_DONE),
    all_of("align", _DONE),
)
_UNREAD_OF_MODEL = (
    Unread(group="run", names=("seed",), why=_AS_IT_IS),
    *(all_of(group, _AS_IT_IS) for group in ("images", "predict", "match", "tracks", "refine")),
)


def export(
    source: Path,
    out: Path,
    options: ReconstructOptions | None = None,
    *,
    formats: Collection[Format] = ONLY_COLMAP,
    image_root: Path | None = None,
    image_factors: Sequence[int] = (),
    progress: Progress | None = None,
) -> "Summary | None":
    """Write a model in the formats of other programs.

    Args:
        source: folder of photographs, or the output folder or scene.h5 of an earlier run.
        out: folder that receives the files of `WRITTEN`.
        options: options of every stage; of an earlier run those of the export alone.
        formats: what to write; all but "colmap" come from the model of the run as it is.
        image_root: where the photographs of an earlier run are now, if they moved.
        image_factors: 2, 4, …: smaller pictures in the workspace `dense`, as images_2, images_4, ….
        progress: shows the stages.

    Returns:
        The summary of the run when photographs were reconstructed.

    Raises:
        InputError: the source is neither photographs nor a run, what the format needs of the run is gone, or an option
            is given that would change nothing.
        OutputError: the output folder holds something of that name, is not writable, or the disk is full.
    """
    from dust3r_sfm.reconstruct import reconstruct  # torch and pycolmap take a second: not for --help

    options = options or ReconstructOptions()
    scene_path = source if source.name.endswith(".h5") else source / "scene.h5"
    run, summary = scene_path.parent, None
    if not scene_path.is_file():
        if source.is_dir() and (source / "run.json").is_file():
            raise InputError(
                f"{source} holds a run that is not aligned yet; finish it with dust3r-sfm reconstruct.", path=source
            )
        if image_root is not None:
            raise InputError(
                f"--images is for photographs of a run that moved, but {source} is no run; drop it.", path=source
            )
        summary = reconstruct(source, out, options, progress=progress)
        run = out
    else:
        _refuse_unread(options, formats, image_root)
        if not options.run.overwrite and run.resolve() != out.resolve():
            _require_free(out, formats)
    with locked(out):
        if summary is None and "colmap" in formats:
            _write_colmap(scene_path, out, options, image_root, progress or Silent())
            run = out
        with (progress or Silent()).stage("formats"):
            _write_others(run, out, formats)
            if image_factors:
                from dust3r_sfm.dense.smaller import write_smaller_images

                write_smaller_images(run / "dense", image_factors)
    return summary


def _refuse_unread(options: ReconstructOptions, formats: Collection[Format], image_root: Path | None) -> None:
    refuse_unread("export", options, _UNREAD_OF_RUN)
    if "colmap" not in formats:
        refuse_unread("export", options, _UNREAD_OF_MODEL)
        if image_root is not None:
            raise InputError(f"`dust3r-sfm export` does not read --images: {_AS_IT_IS}.")


def _require_free(out: Path, formats: Collection[Format]) -> None:
    """Leave what somebody else keeps under the names that the export would take."""
    for name in (name for format_ in formats for name in WRITTEN[format_]):
        if (out / name).exists():
            raise OutputError(f"{out / name} is there already; choose another folder or add --overwrite.")


def _write_colmap(
    scene_path: Path, out: Path, options: ReconstructOptions, image_root: Path | None, progress: Progress
) -> None:
    from dust3r_sfm.runs.copy import copy_models

    run, written = scene_path.parent, None
    with progress.stage("export") as step:
        if image_root is None and run.resolve() != out.resolve():
            written = copy_models(run, out, options)
        if written is None:
            written = _export_again(scene_path, out, options, image_root, step)
    print(f"refinement          {written.refinement}")
    print(f"frame               {(written.world or {}).get('sentence', '')}")
    for one in written.apart or ():
        print(f"another model       {out / one['model']}, {len(one['photographs'])} photographs, {one['reason']}")
    for name, reason in (written.left_out or {}).items():
        print(f"left out            {name}: {reason}")
    for finding in written.findings or ():
        print(f"warning             {finding}")


def _export_again(
    scene_path: Path, out: Path, options: ReconstructOptions, image_root: Path | None, step: Step
) -> "Facts":
    """Refine the aligned scenes of a run with other options than it did."""
    from dust3r_sfm.images.masks import with_masks
    from dust3r_sfm.predictors.store import PredictionStore
    from dust3r_sfm.runs.stages import write_colmap
    from dust3r_sfm.scene_file import read_scenes

    predictions_path = scene_path.with_name("predictions.h5")
    if not predictions_path.is_file():
        raise InputError(f"{predictions_path} is needed beside {scene_path.name}; run dust3r-sfm predict again.")
    scenes = [with_masks(scene, options.images.masks) for scene in read_scenes(scene_path, image_root)]
    return write_colmap(scenes, PredictionStore(predictions_path, scenes[0].names), out, options, step)


def _write_others(run: Path, out: Path, formats: Collection[Format]) -> None:
    """Write what follows from the model of a run."""
    if not set(formats) - {"colmap"}:
        return
    from dust3r_sfm.colmap.model import read_model
    from dust3r_sfm.formats.glb import write_glb
    from dust3r_sfm.formats.hloc import write_hloc
    from dust3r_sfm.formats.nerfstudio import write_nerfstudio
    from dust3r_sfm.formats.ply import cloud_of, write_ply
    from dust3r_sfm.runs.record import read_record

    if not (run / "sparse" / "0").is_dir():
        raise InputError(f"{run} holds no model yet; add --colmap, or finish it with dust3r-sfm reconstruct.", path=run)
    reconstruction = read_model(run / "sparse" / "0")
    if "ply" in formats:
        write_ply(out / "points.ply", cloud_of(reconstruction))
    if "glb" in formats:
        write_glb(out / "model.glb", reconstruction, z_up=(read_record(run).world or {}).get("up") == "z")
    if "nerfstudio" in formats:
        write_nerfstudio(run / "dense", out / "nerfstudio")
    if "hloc" in formats:
        write_hloc(out / "hloc", reconstruction, run / "database.db")


Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]


def command(
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    options: Annotated[ReconstructOptions, tyro.conf.arg(name="")],
    colmap: Flag = False,
    nerfstudio: Flag = False,
    ply: Flag = False,
    glb: Flag = False,
    hloc: Flag = False,
    image_factors: tuple[int, ...] = (),
    images: Path | None = None,
) -> None:
    """Write a model in the formats of other programs; at least one must be named.

    Args:
        source: Folder of photographs, or the output folder or scene.h5 of an earlier run.
        out: Folder that receives the files.
        options: Options of every stage; of an earlier run those of the export alone.
        colmap: COLMAP model (sparse/0, database.db), undistorted workspace for patch_match_stereo (dense) and the
            same with our depth maps for stereo_fusion (dense_pointmaps).
        nerfstudio: Undistorted pictures, transforms.json, points and masks (nerfstudio).
        ply: Coloured points (points.ply).
        glb: Coloured points and cameras as binary glTF (model.glb).
        hloc: Keypoints, matches and pairs (hloc).
        image_factors: Smaller pictures beside those of dense: 2 4 8 give images_2, images_4 and images_8.
        images: Where the photographs of an earlier run are now, if they moved.
    """
    chosen = dict(zip(get_args(Format), (colmap, nerfstudio, ply, glb, hloc), strict=True))
    formats = tuple(name for name in WRITTEN if chosen[name])
    if not formats and not image_factors:
        raise InputError("Name the format to export: " + ", ".join(f"--{name}" for name in WRITTEN) + ".")
    summary = export(
        source,
        out,
        options,
        formats=formats,
        image_root=images,
        image_factors=image_factors,
        progress=Terminal(),
    )
    if summary is not None:
        print(summary)
    for name in formats:
        print(f"{name:<20}{', '.join(str(out / file) for file in WRITTEN[name])}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m dust3r_sfm.export`."""
    return run_command(command, arguments, prog="dust3r_sfm.export", description=command.__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
