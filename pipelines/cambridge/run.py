"""The Cambridge Landmarks benchmark."""

from pathlib import Path

from dust3r_sfm.options import PredictorOptions, RunOptions
from dust3r_sfm.system.terminal import Terminal
from pipelines.benchmark import Protocol, localize_scene
from pipelines.cambridge.dataset import Layout, read_scene
from pipelines.cambridge.published import PUBLISHED, SCENES
from pipelines.table import write_tables


def cambridge(
    predictor: PredictorOptions,
    run: RunOptions,
    scenes: tuple[str, ...] = SCENES,
    dataset: Path = Path("datasets/cambridge"),
    outputs: Path = Path("outputs/cambridge"),
    num_covis: int = 20,
    num_loc: int = 20,
    unknown_focal: bool = False,
    layout: Layout = "auto",
) -> None:
    """Localize the test frames of Cambridge Landmarks and print the errors beside published ones.

    Args:
        predictor: Which predictor.
        run: How to run.
        scenes: Scenes to work on.
        dataset: Folder of the scenes, in hloc's layout or as published.
        outputs: Folder for results and tables.
        num_covis: Neighbours of each mapping image in pairs-db-covisN.txt.
        num_loc: Retrieved images that a query is compared with; DUSt3R was measured with 20, hloc with 10.
        unknown_focal: Estimate the focal length of each query with its pose.
        layout: hloc's (retriangulated model), as published (reconstruction.nvm), or hloc's where it is there.
    """
    protocol = Protocol(num_loc=num_loc, num_covis=num_covis, unknown_focal=unknown_focal, predict=predictor, run=run)
    # All scenes are read before the first is worked on: what is missing is said at once.
    read = [read_scene(dataset, name, layout) for name in scenes]
    stem = f"results{'_unknown_focal' if unknown_focal else ''}"
    measured = {scene.name: localize_scene(scene, outputs / scene.name, stem, protocol, Terminal()) for scene in read}
    method = f"{predictor.predictor}, top {num_loc}{', unknown focal' if unknown_focal else ''}"
    print(write_tables(outputs, stem, method, measured, PUBLISHED))
