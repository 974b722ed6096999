"""Every way to a relative pose finds the true one, and says so when there is none."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dust3r_sfm.geometry import transforms
from dust3r_sfm.matching.mutual import mutual_matches
from dust3r_sfm.matching.relative import pose_from_both_directions, pose_from_matches, pose_from_pnp
from dust3r_sfm.options import MatchOptions
from dust3r_sfm.types import RelativePose


def assert_pose(pose: RelativePose | None, truth: np.ndarray, tolerance: float) -> None:
    assert pose is not None
    assert np.abs(pose.cam2_from_cam1 - truth).max() < tolerance
    assert (pose.image1, pose.image2) == (3, 7)


def test_both_directions_give_the_pose_in_the_units_of_the_first(pair: Any) -> None:
    pose = pose_from_both_directions(3, 7, pair.forward, pair.backward)
    assert_pose(pose, pair.cam2_from_cam1, 1e-5)
    assert pose is not None
    assert pose.score == 1.0
    assert pose.focal1 == pytest.approx(90.0, rel=1e-4)
    assert pose.focal2 == pytest.approx(90.0, rel=1e-4)


def test_a_third_of_gross_outliers_does_not_move_procrustes(pair: Any) -> None:
    points1, points2 = pair.backward.points1.copy(), pair.backward.points2.copy()
    points1[:21] *= np.float32(1.5)
    points2[:21] *= np.float32(1.5)
    pose = pose_from_both_directions(3, 7, pair.forward, replace(pair.backward, points1=points1, points2=points2))
    assert_pose(pose, pair.cam2_from_cam1, 0.01)
    assert pose is not None
    assert 0.6 < pose.score < 0.7


def test_pnp(pair: Any) -> None:
    assert_pose(pose_from_pnp(3, 7, pair.forward, focal2=90.0), pair.cam2_from_cam1, 1e-4)


def test_essential_matrix_of_a_scene_that_is_not_a_plane(pair: Any) -> None:
    rng = np.random.default_rng(0)
    xyz = np.column_stack([rng.uniform(-1.5, 1.5, (300, 2)), rng.uniform(3, 6, 300)])
    matches = replace(
        mutual_matches(pair.forward, pair.view, pair.view, 3, 7, MatchOptions()),
        xy1=project(xyz, pair.intrinsics),
        xy2=project(transforms.apply(pair.cam2_from_cam1, xyz), pair.intrinsics),
        confidence=np.ones(300),
    )
    pose = pose_from_matches(matches, pair.intrinsics, pair.intrinsics)
    truth = pair.cam2_from_cam1.copy()
    truth[:, 3] /= np.linalg.norm(truth[:, 3])
    assert_pose(pose, truth, 1e-4)
    again = pose_from_matches(matches, pair.intrinsics, pair.intrinsics)
    assert pose is not None
    assert again is not None
    assert np.array_equal(pose.cam2_from_cam1, again.cam2_from_cam1)


def test_maps_without_information_give_none(pair: Any) -> None:
    nothing = np.ones_like(pair.forward.confidence2)
    blind = replace(pair.forward, confidence1=nothing, confidence2=nothing)
    assert pose_from_both_directions(3, 7, blind, pair.backward) is None
    assert pose_from_pnp(3, 7, blind, focal2=90.0) is None
    matches = mutual_matches(blind, pair.view, pair.view, 3, 7, MatchOptions())
    assert pose_from_matches(matches, pair.intrinsics, pair.intrinsics) is None


def project(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points[:, :2] / points[:, 2:] * matrix[[0, 1], [0, 1]] + matrix[:2, 2]
