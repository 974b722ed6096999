"""`python -m dust3r_sfm.export SOURCE OUT --colmap`: the step before `colmap patch_match_stereo`.

SOURCE is a folder of photographs, which is reconstructed first, or the output folder (or scene.h5) of an earlier run.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from dust3r_sfm.errors import InputError
from dust3r_sfm.options import ReconstructOptions
from dust3r_sfm.progress import Progress, Silent
from dust3r_sfm.terminal import Terminal, run_command

if TYPE_CHECKING:
    from dust3r_sfm.summary import Summary


def export(
    source: Path,
    out: Path,
    options: ReconstructOptions | None = None,
    *,
    image_root: Path | None = None,
    progress: Progress | None = None,
) -> "Summary | None":
    """Write a COLMAP model and its undistorted workspace.

    Args:
        source: folder of photographs, or the output folder or scene.h5 of an earlier run.
        out: folder that receives sparse/0, database.db and dense.
        options: options of every stage; for an earlier run those of the export alone count.
        image_root: where the photographs of an earlier run are now, if they moved.
        progress: shows the stages.

    Returns:
        The summary of the run when photographs were reconstructed.

    Raises:
        InputError: the source is neither photographs nor a run, or the run's predictions are gone.
    """
    from dust3r_sfm.predictors.store import PredictionStore  # torch and pycolmap take a second: not for --help
    from dust3r_sfm.reconstruct import reconstruct, write_colmap
    from dust3r_sfm.scene_file import read_scene

    scene_path = source if source.name.endswith(".h5") else source / "scene.h5"
    if not scene_path.is_file():
        if source.is_dir() and (source / "run.json").is_file():
            raise InputError(f"{source} holds a run that is not aligned yet; finish it with dust3r-sfm reconstruct.")
        return reconstruct(source, out, options, progress=progress)
    predictions_path = scene_path.with_name("predictions.h5")
    if not predictions_path.is_file():
        raise InputError(f"{predictions_path} is needed beside {scene_path.name}; run dust3r-sfm predict again.")
    scene = read_scene(scene_path, image_root)
    with (progress or Silent()).stage("export") as step:
        predictions = PredictionStore(predictions_path, scene.names)
        for finding in write_colmap(scene, predictions, out, options or ReconstructOptions(), step):
            print(f"warning             {finding}")
    return None


def command(
    source: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    options: ReconstructOptions,
    colmap: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    images: Path | None = None,
) -> None:
    """Write a COLMAP model (sparse/0, database.db) and the undistorted workspace (dense/) for patch_match_stereo.

    Args:
        source: Folder of photographs, or the output folder or scene.h5 of an earlier run.
        out: Folder that receives the files.
        options: Options of every stage; for an earlier run those of the export alone count.
        colmap: Write COLMAP's formats; the format must be named.
        images: Where the photographs of an earlier run are now, if they moved.
    """
    if not colmap:
        raise InputError("Name the format to export: --colmap.")
    summary = export(source, out, options, image_root=images, progress=Terminal())
    print(summary or f"model               {out / 'sparse' / '0'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m dust3r_sfm.export`."""
    return run_command(command, arguments, prog="dust3r_sfm.export", description=command.__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
