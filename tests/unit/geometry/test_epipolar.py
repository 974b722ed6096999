"""Exact matches have no epipolar error; a shift across the line has that of its length."""

import numpy as np
import pytest

from dust3r_sfm.geometry import pinhole, transforms
from dust3r_sfm.geometry.epipolar import fundamental_matrix, sampson_error

INTRINSICS = pinhole.intrinsics(90.0, (96, 64))


def two_cameras() -> np.ndarray:
    """Camera 2 stands to the right, turned to the left and a little rolled."""
    rotation = transforms.rotation_exp(np.array([0.03, -0.15, 0.05]))
    return np.column_stack([rotation, -rotation @ np.array([0.6, 0.1, -0.1])])


def test_sampson_error_is_the_distance_across_the_epipolar_line() -> None:
    rng = np.random.default_rng(1)
    xyz = np.column_stack([rng.uniform(-1, 1, (50, 2)), rng.uniform(3, 6, 50)])
    fundamental = fundamental_matrix(two_cameras(), INTRINSICS, INTRINSICS)
    xy1 = pinhole.project(xyz, INTRINSICS)
    xy2 = pinhole.project(transforms.apply(two_cameras(), xyz), INTRINSICS)
    assert sampson_error(fundamental, xy1, xy2).max() < 1e-9
    line = np.column_stack([xy1, np.ones(50)]) @ fundamental.T
    across = line[:, :2] / np.linalg.norm(line[:, :2], axis=1, keepdims=True)
    # The error is shared by both images: half of its square each.
    assert sampson_error(fundamental, xy1, xy2 + 0.5 * across) == pytest.approx(0.5 / np.sqrt(2), rel=0.2)


def test_without_a_baseline_every_match_agrees() -> None:
    turn = two_cameras()
    turn[:, 3] = 0.0
    fundamental = fundamental_matrix(turn, INTRINSICS, INTRINSICS)
    assert sampson_error(fundamental, np.zeros((2, 2)), np.full((2, 2), 50.0)).tolist() == [0.0, 0.0]
