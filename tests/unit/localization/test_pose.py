"""Poses from exact and disturbed correspondences; how far they are believed."""

import numpy as np
import pytest

from dust3r_sfm.geometry.transforms import centres, rotation_angle, rotation_exp
from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.localization.pose import estimate_pose, pose_confidence
from dust3r_sfm.types import KnownCamera

SIZE = (640, 480)
OPENCV = KnownCamera(model="OPENCV", size=SIZE, params=(520.0, 516.0, 330.0, 235.0, -0.3, 0.1, 1e-3, -5e-4))
POSE = np.column_stack([rotation_exp(np.array([0.1, -0.3, 0.2])), [0.3, -0.2, 1.0]])


def _correspondences(rng, camera, num=300, outliers=0.4, noise=0.3):
    seen = np.column_stack([rng.uniform(-1, 1, num), rng.uniform(-0.8, 0.8, num), rng.uniform(2, 5, num)])
    seen[:, :2] *= seen[:, 2:] * 0.5
    xy = np.asarray(camera.img_from_cam(seen)) + noise * rng.standard_normal((num, 2))
    wrong = rng.random(num) < outliers
    xy[wrong] = rng.uniform((0, 0), SIZE, (int(wrong.sum()), 2))
    return xy, (seen - POSE[:, 3]) @ POSE[:, :3], ~wrong


def test_distortion_is_respected(rng):
    xy, xyz, right = _correspondences(rng, colmap_camera(OPENCV))
    found = estimate_pose(xy, xyz, colmap_camera(OPENCV), "known", 4.0, 0)
    assert found is not None
    assert rotation_angle(found.cam_from_world[:, :3] @ POSE[:, :3].T) < 0.05
    assert np.linalg.norm(centres(found.cam_from_world) - centres(POSE)) < 0.005
    assert (found.inlier & right).sum() > 0.95 * right.sum()
    pinhole = KnownCamera(model="PINHOLE", size=SIZE, params=OPENCV.params[:4])
    without = estimate_pose(xy, xyz, colmap_camera(pinhole), "known", 4.0, 0)
    assert without is None or without.num_inliers < found.num_inliers


def test_covariance_is_that_of_the_errors(rng):
    camera = colmap_camera(OPENCV)
    errors, predicted = [], []
    for _ in range(40):
        xy, xyz, _ = _correspondences(rng, camera, num=60, outliers=0.0, noise=1.0)
        found = estimate_pose(xy, xyz, camera, "known", 8.0, 0)
        assert found is not None and found.covariance is not None
        errors.append(np.linalg.norm(found.cam_from_world[:, 3] - POSE[:, 3]))
        predicted.append(np.sqrt(np.trace(found.covariance[3:, 3:])))
    assert 0.4 < np.sqrt(np.mean(np.square(errors))) / np.mean(predicted) < 2.5


@pytest.mark.parametrize("focal", ["unknown", "prior"])
def test_an_unknown_focal_length_is_found(rng, focal):
    truth = KnownCamera(model="SIMPLE_PINHOLE", size=SIZE, params=(500.0, 320.0, 240.0))
    xy, xyz, _ = _correspondences(rng, colmap_camera(truth))
    guess = KnownCamera(model="SIMPLE_PINHOLE", size=SIZE, params=(530.0 if focal == "prior" else 768.0, 320.0, 240.0))
    found = estimate_pose(xy, xyz, colmap_camera(guess), focal, 4.0, 0)
    assert found is not None
    assert abs(found.camera.params[0] / 500 - 1) < 0.01
    assert np.linalg.norm(centres(found.cam_from_world) - centres(POSE)) < 0.05


def test_a_wrong_prior_does_not_cost_the_query(rng):
    truth = KnownCamera(model="SIMPLE_PINHOLE", size=SIZE, params=(500.0, 320.0, 240.0))
    xy, xyz, _ = _correspondences(rng, colmap_camera(truth))
    wrong = KnownCamera(model="SIMPLE_PINHOLE", size=SIZE, params=(1500.0, 320.0, 240.0))
    found = estimate_pose(xy, xyz, colmap_camera(wrong), "prior", 4.0, 0)
    assert found is not None and abs(found.camera.params[0] / 500 - 1) < 0.02


def test_the_same_seed_gives_the_same_pose(rng):
    xy, xyz, _ = _correspondences(rng, colmap_camera(OPENCV))
    first, second = (estimate_pose(xy, xyz, colmap_camera(OPENCV), "known", 4.0, 3) for _ in range(2))
    assert first is not None and second is not None
    assert np.abs(first.cam_from_world - second.cam_from_world).max() < 1e-9


def test_too_few_correspondences_give_no_pose(rng):
    xy, xyz, _ = _correspondences(rng, colmap_camera(OPENCV), num=5, outliers=0.0)
    assert estimate_pose(xy, xyz, colmap_camera(OPENCV), "known", 4.0, 0) is None
    assert estimate_pose(np.zeros((0, 2)), np.zeros((0, 3)), colmap_camera(OPENCV), "unknown", 4.0, 0) is None


def test_wrong_correspondences_are_not_believed_and_right_ones_are(rng):
    camera = colmap_camera(OPENCV)
    xy, xyz, _ = _correspondences(rng, camera, num=800, outliers=1.0)
    found = estimate_pose(xy, xyz, camera, "unknown", 6.4, 0)
    if found is not None:
        assert pose_confidence(xy, found.inlier, SIZE) < 0.4
    xy, xyz, _ = _correspondences(rng, camera, num=800, outliers=0.7)
    found = estimate_pose(xy, xyz, camera, "known", 6.4, 0)
    assert found is not None and pose_confidence(xy, found.inlier, SIZE) > 0.9


def test_many_inliers_in_one_place_are_not_believed(rng):
    xy = rng.uniform((100, 100), (130, 120), (500, 2))
    assert pose_confidence(xy, np.ones(500, bool), SIZE) < 0.1


@pytest.fixture
def rng():
    return np.random.default_rng(0)
