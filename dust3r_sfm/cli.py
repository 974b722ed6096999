"""`dust3r-sfm VERB`: every verb is a function whose signature is its command line."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from dust3r_sfm import export as export_module
from dust3r_sfm.options import (
    AlignOptions,
    ImageOptions,
    PairOptions,
    PredictOptions,
    ReconstructOptions,
    RunOptions,
)
from dust3r_sfm.terminal import Terminal, run_command

Photos = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PHOTOS")]
Out = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]


def reconstruct(photos: Photos, out: Out, options: ReconstructOptions) -> None:
    """Photographs in, COLMAP model out: every stage, resumed where an earlier run stopped.

    Args:
        photos: Folder of photographs.
        out: Output folder.
        options: Options of every stage.
    """
    from dust3r_sfm.reconstruct import reconstruct

    print(reconstruct(photos, out, options, progress=Terminal()))


def pairs(photos: Photos, out: Out, images: ImageOptions, select: PairOptions, run: RunOptions) -> None:
    """Select the pairs of photographs to predict: OUT/pairs.txt.

    Args:
        photos: Folder of photographs.
        out: Output folder.
        images: How photographs are read.
        select: Which pairs.
        run: How to run.
    """
    from dust3r_sfm.reconstruct import reconstruct

    options = ReconstructOptions(images=images, pairs=select, run=run)
    reconstruct(photos, out, options, until="pairs", progress=Terminal())


def predict(
    photos: Photos, out: Out, images: ImageOptions, select: PairOptions, predictor: PredictOptions, run: RunOptions
) -> None:
    """Predict the pointmaps of every pair: OUT/predictions.h5.

    Args:
        photos: Folder of photographs.
        out: Output folder.
        images: How photographs are read.
        select: Which pairs.
        predictor: Which predictor.
        run: How to run.
    """
    from dust3r_sfm.reconstruct import reconstruct

    options = ReconstructOptions(images=images, pairs=select, predict=predictor, run=run)
    reconstruct(photos, out, options, until="predict", progress=Terminal())


def align(
    photos: Photos,
    out: Out,
    images: ImageOptions,
    select: PairOptions,
    predictor: PredictOptions,
    alignment: AlignOptions,
    run: RunOptions,
) -> None:
    """Align the pointmaps of all pairs in one frame: OUT/scene.h5.

    Args:
        photos: Folder of photographs.
        out: Output folder.
        images: How photographs are read.
        select: Which pairs.
        predictor: Which predictor.
        alignment: How to align.
        run: How to run.
    """
    from dust3r_sfm.reconstruct import reconstruct

    options = ReconstructOptions(images=images, pairs=select, predict=predictor, align=alignment, run=run)
    reconstruct(photos, out, options, until="align", progress=Terminal())


def sample(folder: Out, num_views: int = 16, seed: int = 0) -> None:
    """Render photographs of a small scene whose cameras are known exactly: FOLDER/images and FOLDER/truth.

    Args:
        folder: Folder that receives the photographs and the truth.
        num_views: How many photographs.
        seed: Another number gives another scene.
    """
    from dust3r_sfm.synthetic.sample import sample

    with Terminal().stage("render") as step:
        sample(folder, num_views=num_views, seed=seed, progress=step)
    print(f"photographs         {folder / 'images'}\ntruth               {folder / 'truth' / 'poses.json'}")


def evaluate(
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    reference: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="REFERENCE")],
) -> None:
    """Compare the cameras of a model with a reference.

    Args:
        model: COLMAP model, or the output folder of a run.
        reference: COLMAP model, output folder, or poses.json.
    """
    from dust3r_sfm.evaluation.poses import evaluate_poses

    print(evaluate_poses(model, reference))


def predictors() -> None:
    """List the predictors, their licences, and where their weights are."""
    from dust3r_sfm.predictors.predictor import list_predictors

    for predictor in list_predictors():
        print(predictor.name, predictor.summary, sep="\n    ")
        print(f"    licence: {predictor.licence}\n    weights: {predictor.weights or 'none'}")


def doctor() -> None:
    """Show versions, devices, and what this installation can do."""
    from dust3r_sfm.doctor import report

    print(report())


VERBS: dict[str, Callable[..., None]] = {
    "reconstruct": reconstruct,
    "sample": sample,
    "pairs": pairs,
    "predict": predict,
    "align": align,
    "export": export_module.command,
    "evaluate": evaluate,
    "predictors": predictors,
    "doctor": doctor,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `dust3r-sfm`; see `terminal.run_command` for the exit codes."""
    return run_command(VERBS, arguments, prog="dust3r-sfm", description="Photographs in, COLMAP model out.")


if __name__ == "__main__":
    sys.exit(main())
