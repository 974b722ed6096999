"""What is done with photographs without making a model of them."""

from pathlib import Path
from typing import Annotated

import tyro

from dust3r_sfm.commands.arguments import Out, Photos
from dust3r_sfm.options import LocalizeOptions, OutputOptions, PredictorOptions, ReadOptions, RunOptions
from dust3r_sfm.system.terminal import Terminal


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
