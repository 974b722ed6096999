"""Two photographs of Sacré-Cœur, 41 degrees apart and by different cameras: SIFT is lost, learned matches are not."""

from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.features.matcher import choose_matcher
from dust3r_sfm.geometry.transforms import compose, invert, rotation_angle
from dust3r_sfm.images.known import with_known
from dust3r_sfm.images.read import read_images
from dust3r_sfm.options import ImageOptions, KnownOptions, PredictorOptions
from dust3r_sfm.predictors.classical import ClassicalPredictor
from dust3r_sfm.types import PairGraph

NAMES = ["17295357_9106075285.jpg", "60584745_2207571072.jpg"]


def relative_pose(data_root: Path, matcher: str) -> np.ndarray | None:
    """Pose of the second camera in the first's frame, at the true intrinsics; None where the pair is given up."""
    folder = data_root / "sacre_coeur"
    predictor = ClassicalPredictor(PredictorOptions(matcher=matcher), seed=0)
    images = read_images(folder / "images", ImageOptions(), predictor.grid, names=NAMES)
    images = with_known(images, KnownOptions(intrinsics=str(folder / "poses.json")))
    predictor.prepare(images, PairGraph(num_images=2, edges=np.array([[0, 1]]), weights=np.ones(1)))
    pair = predictor._pairs.get((0, 1))
    return None if pair is None else pair.cam2_from_cam1


def true_pose(data_root: Path) -> np.ndarray:
    folder = data_root / "sacre_coeur"
    images = read_images(folder / "images", ImageOptions(), names=NAMES)
    views = with_known(images, KnownOptions(poses=folder / "poses.json")).views
    return compose(views[1].known_cam_from_world, invert(views[0].known_cam_from_world))


def turned_wrong(found: np.ndarray, true: np.ndarray) -> float:
    return float(rotation_angle(found[:, :3] @ true[:, :3].T))


@pytest.mark.data
def test_learned_matches_find_what_sift_does_not(data_root: Path) -> None:
    if choose_matcher("auto") is None:
        pytest.skip("the weights of aliked-lightglue are not installed")
    true, alone, both = true_pose(data_root), relative_pose(data_root, "sift"), relative_pose(data_root, "auto")
    assert alone is None or turned_wrong(alone, true) > 10
    assert both is not None
    assert turned_wrong(both, true) < 1
    direction = true[:, 3] / np.linalg.norm(true[:, 3])
    assert np.degrees(np.arccos(both[:, 3] @ direction)) < 2
