"""Exact matches have no epipolar error; a shift across the line has that of its length."""

from typing import Any

import numpy as np
import pytest

from dust3r_sfm.geometry import pinhole, transforms
from dust3r_sfm.matching.epipolar import fundamental_matrix, sampson_error


def test_sampson_error_is_the_distance_across_the_epipolar_line(pair: Any) -> None:
    rng = np.random.default_rng(1)
    xyz = np.column_stack([rng.uniform(-1, 1, (50, 2)), rng.uniform(3, 6, 50)])
    fundamental = fundamental_matrix(pair.cam2_from_cam1, pair.intrinsics, pair.intrinsics)
    xy1 = pinhole.project(xyz, pair.intrinsics)
    xy2 = pinhole.project(transforms.apply(pair.cam2_from_cam1, xyz), pair.intrinsics)
    assert sampson_error(fundamental, xy1, xy2).max() < 1e-9
    line = np.column_stack([xy1, np.ones(50)]) @ fundamental.T
    across = line[:, :2] / np.linalg.norm(line[:, :2], axis=1, keepdims=True)
    # The error is shared by both images: half of its square each.
    assert sampson_error(fundamental, xy1, xy2 + 0.5 * across) == pytest.approx(0.5 / np.sqrt(2), rel=0.2)


def test_without_a_baseline_every_match_agrees(pair: Any) -> None:
    turn = pair.cam2_from_cam1.copy()
    turn[:, 3] = 0.0
    fundamental = fundamental_matrix(turn, pair.intrinsics, pair.intrinsics)
    assert sampson_error(fundamental, np.zeros((2, 2)), np.full((2, 2), 50.0)).tolist() == [0.0, 0.0]
