import numpy as np
import pytest

from dust3r_sfm.alignment.frame.fit import rotation_and_scale
from dust3r_sfm.geometry.transforms import rotation_exp


@pytest.mark.parametrize("num_cameras", [2, 5])
def test_cameras_that_moved_with_their_world_tell_its_turn_and_growth(num_cameras):
    rng = np.random.default_rng(num_cameras)
    turn = rotation_exp(np.array([0.4, -1.1, 0.3]))
    before = np.concatenate([rotation_exp(rng.normal(size=(num_cameras, 3))), rng.normal(size=(num_cameras, 3, 1))], 2)
    after = np.concatenate([turn @ before[:, :, :3], 2.5 * turn @ before[:, :, 3:] + [[1.0], [2], [3]]], 2)
    rotation, scale = rotation_and_scale(before, after)
    np.testing.assert_allclose(rotation, turn, atol=1e-12)
    assert scale == pytest.approx(2.5)


def test_one_camera_leaves_the_size_and_contradicting_centres_give_none():
    poses = np.tile(np.eye(3, 4), (2, 1, 1))
    assert rotation_and_scale(poses[:1], poses[:1])[1] == 1
    poses[1, 0, 3] = 1
    mirrored = poses.copy()
    mirrored[1, 0, 3] = -1
    assert rotation_and_scale(poses, mirrored)[1] < 0
