"""The 7-Scenes benchmark."""

from pathlib import Path

from dust3r_sfm.options import PredictorOptions, RunOptions
from dust3r_sfm.system.terminal import Terminal
from pipelines.benchmark import Protocol, localize_scene
from pipelines.seven_scenes.dataset import Layout, read_scene
from pipelines.seven_scenes.published import PUBLISHED, SCENES
from pipelines.table import write_tables


def seven_scenes(
    predictor: PredictorOptions,
    run: RunOptions,
    scenes: tuple[str, ...] = SCENES,
    dataset: Path = Path("datasets/7scenes"),
    outputs: Path = Path("outputs/7scenes"),
    num_covis: int = 30,
    use_dense_depth: bool = False,
    num_loc: int = 1,
    unknown_focal: bool = False,
    layout: Layout = "auto",
) -> None:
    """Localize the test frames of 7-Scenes and print the errors beside published ones.

    Args:
        predictor: Which predictor.
        run: How to run.
        scenes: Scenes to work on.
        dataset: Folder of the scenes, in hloc's layout or as published.
        outputs: Folder for results and tables.
        num_covis: Neighbours of each mapping image in pairs-db-covisN.txt (hloc's layout).
        use_dense_depth: Use rendered depth maps with the points (hloc's layout).
        num_loc: Retrieved images that a query is compared with; DUSt3R was measured with 1, hloc with 10.
        unknown_focal: Estimate the focal length of each query with its pose.
        layout: hloc's (poses of SfM), as published (poses of KinectFusion), or hloc's where it is there.
    """
    protocol = Protocol(num_loc=num_loc, num_covis=num_covis, unknown_focal=unknown_focal, predict=predictor, run=run)
    # All scenes are read before the first is worked on: what is missing is said at once.
    read = [read_scene(dataset, name, layout, use_dense_depth) for name in scenes]
    dense = all(scene.depth is not None for scene in read)
    stem = f"results_{'dense' if dense else 'sparse'}{'_unknown_focal' if unknown_focal else ''}"
    measured = {scene.name: localize_scene(scene, outputs / scene.name, stem, protocol, Terminal()) for scene in read}
    focal = ", unknown focal" if unknown_focal else ""
    method = f"{predictor.predictor}, top {num_loc}, {'depth' if dense else 'points'}{focal}"
    print(write_tables(outputs, stem, method, measured, PUBLISHED))
