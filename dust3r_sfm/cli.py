"""`dust3r-sfm VERB`: every verb is a function whose signature is its command line."""

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dust3r_sfm import __version__
from dust3r_sfm.export import command as export
from dust3r_sfm.options import (
    AlignCommand,
    LocalizeOptions,
    OutputOptions,
    PairsCommand,
    PredictCommand,
    PredictorOptions,
    ReadOptions,
    ReconstructOptions,
    RunOptions,
    TrainOptions,
)
from dust3r_sfm.refine_command import command as refine
from dust3r_sfm.system.terminal import Terminal, run_command
from dust3r_sfm.web.command import command as web

Photos = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PHOTOS")]
Model = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
Out = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
Action = Annotated[Literal["list", "get"], tyro.conf.Positional]
Unnamed = tyro.conf.arg(name="")  # the groups of a class of options stand in the help under their own names


def reconstruct(photos: Photos, out: Out, options: Annotated[ReconstructOptions, Unnamed]) -> None:
    """Photographs in, COLMAP model out: every stage, resumed where an earlier run stopped.

    Args:
        photos: Folder of photographs, or a video.
        out: Output folder.
        options: Options of every stage.
    """
    from dust3r_sfm.reconstruct import reconstruct

    print(reconstruct(photos, out, options, progress=Terminal()))


def pairs(photos: Photos, out: Out, options: Annotated[PairsCommand, Unnamed]) -> None:
    """Select the pairs of photographs to predict: OUT/pairs.txt.

    Args:
        photos: Folder of photographs, or a video.
        out: Output folder.
        options: How photographs are read, and which pairs.
    """
    from dust3r_sfm.reconstruct import reconstruct

    reconstruct(photos, out, options.whole(), until="pairs", progress=Terminal())


def predict(photos: Photos, out: Out, options: Annotated[PredictCommand, Unnamed]) -> None:
    """Predict the pointmaps of every pair: OUT/predictions.h5.

    Args:
        photos: Folder of photographs, or a video.
        out: Output folder.
        options: Options of the stages up to this one.
    """
    from dust3r_sfm.reconstruct import reconstruct

    reconstruct(photos, out, options.whole(), until="predict", progress=Terminal())


def align(photos: Photos, out: Out, options: Annotated[AlignCommand, Unnamed]) -> None:
    """Align the pointmaps of all pairs in one frame: OUT/scene.h5.

    Args:
        photos: Folder of photographs, or a video.
        out: Output folder.
        options: Options of the stages up to this one.
    """
    from dust3r_sfm.reconstruct import reconstruct

    reconstruct(photos, out, options.whole(), until="align", progress=Terminal())


def extend(
    model: Model, photos: Photos, out: Out, options: Annotated[ReconstructOptions, Unnamed], images: Path | None = None
) -> None:
    """Register new photographs into an existing COLMAP model, which stays as it is to the last bit.

    What it does not read it refuses: what sets frame and scale (--no-upright, --georegister, --gps, --control-points,
    --scale-distance), --shard, and what selects pairs, apart from --num-retrieved.

    Args:
        model: COLMAP model, or the output folder of a run.
        photos: Folder of the new photographs.
        out: Output folder.
        options: Options of every stage; what is known speaks of the new photographs.
        images: Folder of the model's photographs, where it is not recorded beside the model.
    """
    from dust3r_sfm.extend import extend

    print(extend(model, photos, out, options, image_root=images, progress=Terminal()))


def depth(photos: Photos, out: Out, images: ReadOptions, predictor: PredictorOptions, run: OutputOptions) -> None:
    """Estimate depth and focal length of each photograph by itself: OUT/depth.json and OUT/depth.

    Args:
        photos: Folder of photographs.
        out: Output folder.
        images: How photographs are read.
        predictor: Which network predictor.
        run: How to run.
    """
    from dust3r_sfm.depth import estimate_depth

    print(estimate_depth(photos, out, images, predictor, run, Terminal()))


def densify(out: Out, patch_match: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False) -> None:
    """Fuse the depth maps of a run to a dense cloud and mesh it: OUT/fused.ply and OUT/mesh.ply.

    Args:
        out: Output folder of a run.
        patch_match: Compute depth maps by COLMAP's patch-match stereo instead of fusing ours; needs CUDA.
    """
    from dust3r_sfm.dense.densify import densify

    print(densify(out, patch_match=patch_match, progress=Terminal()))


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
    model: Model, reference: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="REFERENCE")]
) -> None:
    """Compare the cameras of a model with a reference.

    Args:
        model: COLMAP model, or the output folder of a run.
        reference: COLMAP model, output folder, or poses.json.
    """
    from dust3r_sfm.evaluation.poses import evaluate_poses

    print(evaluate_poses(model, reference))


def view(out: Out, images: Path | None = None, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Look at a model in a web browser: cameras, points, depth, confidence and pairs.

    Args:
        out: Output folder of a run, or the folder of a COLMAP model.
        images: Where the photographs are now, if they moved.
        host: Address to listen on; 0.0.0.0 lets other machines in.
        port: Port to listen on; the next free one is taken when it is in use.
    """
    from dust3r_sfm.viewing import open_viewer

    with contextlib.suppress(KeyboardInterrupt):
        server = open_viewer(out, host, port, images)
        port = server.get_port()
        print(f"open                http://localhost:{port}   (Ctrl-C ends it)")
        print(f"over ssh            ssh -L {port}:localhost:{port} THIS_MACHINE, then the same address", flush=True)
        server.sleep_forever()


def localize(
    map_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MAP")],
    queries: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="QUERIES")],
    results: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RESULTS.txt")],
    options: LocalizeOptions,
    predictor: PredictorOptions,
    run: RunOptions,
) -> None:
    """Find where photographs were taken: their poses in a map, in hloc's format, with a JSON file beside it.

    Args:
        map_folder: Output folder of a run, or COLMAP model with its photographs.
        queries: A photograph, a folder, a list (hloc's, with or without intrinsics) or a video.
        results: Text file for the poses.
        options: How to localize.
        predictor: Which predictor.
        run: How to run.
    """
    from dust3r_sfm.localization.localize import localize

    print(localize(map_folder, queries, results, options, predictor, run, Terminal()))


def pose(
    photo1: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="A.jpg")],
    photo2: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="B.jpg")],
    predictor: PredictorOptions,
    run: RunOptions,
    out: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[OUT]")] = None,
) -> None:
    """Find the pose of one photograph's camera relative to another's: no model, just the pair.

    Args:
        photo1: The first photograph.
        photo2: The second.
        predictor: Which predictor.
        run: How to run.
        out: Folder for pose.json and matches.png, a picture of the matches; default: print only.
    """
    from dust3r_sfm.pose import relative_pose

    print(relative_pose(photo1, photo2, out, predictor, run, Terminal()))


def train(out: Out, options: TrainOptions) -> None:
    """Train a network on photographs with known depth and cameras, or go on with --resume.

    Args:
        out: Output folder: checkpoint, weights, log.
        options: What to train, on what, and how.
    """
    from dust3r_sfm.training.run import train

    print(f"weights             {train(out, options, Terminal())}")


def predictors() -> None:
    """List the predictors, their licences, and where their weights are."""
    from dust3r_sfm.predictors.predictor import list_predictors

    for one in list_predictors():
        print(one.name, one.summary, f"licence: {one.licence}", f"weights: {one.weights or 'none'}", sep="\n    ")


def features(action: Action = "list", name: Annotated[str, tyro.conf.Positional] = "") -> None:
    """List the matchers of local features and their weights, or get those of one.

    Args:
        action: Whether to list, or to download what a matcher needs.
        name: Which matcher to get.
    """
    from dust3r_sfm.features import listing

    print(*(listing.matcher_lines() if action == "list" else listing.get_weights(name)), sep="\n")


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
    "export": export,
    "extend": extend,
    "refine": refine,
    "densify": densify,
    "depth": depth,
    "evaluate": evaluate,
    "view": view,
    "web": web,
    "train": train,
    "localize": localize,
    "predictors": predictors,
    "features": features,
    "doctor": doctor,
    "pose": pose,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `dust3r-sfm`; see `terminal.run_command` for the exit codes."""
    if list(sys.argv[1:] if arguments is None else arguments) == ["--version"]:
        print(f"dust3r-sfm {__version__}")
        return 0
    return run_command(VERBS, arguments, prog="dust3r-sfm", description="Photographs in, COLMAP model out.")


if __name__ == "__main__":
    sys.exit(main())
