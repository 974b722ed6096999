"""Which way is down, by photographs that are held level and by sensors."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dust3r_sfm.alignment.frame.upright import find_down, level_from_world

LEVEL_FROM_CAMERA = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""A camera that looks along y, z up."""
OWN = Rotation.from_rotvec([0.7, -1.1, 0.4]).as_matrix()
"""A frame of its own."""


def cameras(yaw, pitch, roll) -> np.ndarray:
    """cam_from_world with angles in degrees, from a frame of its own."""
    count = len(yaw)
    level = Rotation.from_euler("z", np.asarray(yaw)[:, None], degrees=True).as_matrix().reshape(count, 3, 3)
    held = Rotation.from_euler("zx", np.column_stack([roll, -np.asarray(pitch)]), degrees=True).as_matrix()
    rotations = np.swapaxes(level @ LEVEL_FROM_CAMERA @ np.swapaxes(held, 1, 2), 1, 2)
    return np.concatenate([rotations @ OWN.T, np.zeros((count, 3, 1))], axis=2)


def tilt(down: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(-(OWN.T @ down)[2], -1, 1))))


def test_a_hand_held_walk_around_stands_upright():
    rng = np.random.default_rng(0)
    poses = cameras(np.linspace(0, 300, 40), rng.uniform(-35, 5, 40), rng.normal(0, 1.5, 40))
    found = find_down(poses)
    assert found is not None and tilt(found.direction) < 0.5
    assert found.sigma_degrees < 0.6
    level = level_from_world(found.direction, poses)
    ups = -np.einsum("ij,kj->ki", level, poses[:, 1, :3])
    assert (ups[:, 2] > 0.7).all()
    ahead = level @ poses[0, 2, :3]
    assert ahead[1] > 0.7 and abs(ahead[0]) < 1e-9
    np.testing.assert_allclose(level @ level.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(level) == pytest.approx(1)


def test_some_rolled_photographs_do_not_matter():
    rng = np.random.default_rng(1)
    roll = rng.normal(0, 1.0, 30)
    roll[::4] += 90
    found = find_down(cameras(np.linspace(0, 200, 30), rng.uniform(-20, 20, 30), roll))
    assert found is not None and tilt(found.direction) < 0.5


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll"),
    [
        (np.linspace(0, 340, 20), np.full(20, -90.0), np.zeros(20)),
        (np.zeros(20), np.linspace(-20, 20, 20), np.zeros(20)),
        (np.linspace(0, 200, 20), np.zeros(20), np.resize([0.0, 90.0], 20)),
        (np.linspace(0, 30, 2), np.zeros(2), np.zeros(2)),
    ],
    ids=["nadir", "one direction", "half of them rolled", "two"],
)
def test_it_is_left_open(yaw, pitch, roll):
    noise = np.random.default_rng(2).normal(0, 0.5, (2, len(yaw)))
    assert find_down(cameras(yaw, pitch + noise[0], roll + noise[1])) is None


def test_sensors_decide_for_photographs_of_the_ground():
    rng = np.random.default_rng(3)
    pitch = np.full(12, -90.0)
    poses = cameras(np.resize([0.0, 180.0], 12), pitch, np.zeros(12))
    gravity = np.tile([0.0, 0.0, 1.0], (12, 1)) + rng.normal(0, 0.01, (12, 3))
    gravity[0] = [1.0, 0.0, 0.0]  # one is wrong
    gravity[1] = np.nan
    found = find_down(poses, gravity / np.linalg.norm(gravity, axis=1, keepdims=True))
    assert found is not None and tilt(found.direction) < 0.5
