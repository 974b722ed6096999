"""The frame of the given cameras is found again, whatever a few of them say."""

import numpy as np
import pytest

from dust3r_sfm.correction.frame import given_from_found, moved
from dust3r_sfm.geometry.transforms import centres, rotation_angle, rotation_exp


def ring(count: int = 12, flat: bool = False) -> np.ndarray:
    rng = np.random.default_rng(5)
    rotation = rotation_exp(rng.normal(size=(count, 3)))
    place = rng.normal(size=(count, 3)) * ((1, 0, 0) if flat else 1)
    return np.concatenate([rotation, -rotation @ place[:, :, None]], axis=2)


SIMILARITY = np.eye(4)
SIMILARITY[:3, :3] = 3.7 * rotation_exp(np.array([0.4, -1.1, 0.7]))
SIMILARITY[:3, 3] = (10.0, -4.0, 2.0)


def perturbed(cameras: np.ndarray, degrees: float, distance: float) -> np.ndarray:
    rng = np.random.default_rng(7)
    rotation = rotation_exp(np.radians(degrees) * rng.normal(size=(len(cameras), 3)) / np.sqrt(3)) @ cameras[:, :, :3]
    place = centres(cameras) + distance * rng.normal(size=(len(cameras), 3)) / np.sqrt(3)
    return np.concatenate([rotation, -rotation @ place[:, :, None]], axis=2)


@pytest.mark.parametrize("flat", [False, True], ids=["about", "on a line"])
def test_exact_cameras_give_the_exact_similarity(flat):
    found = ring(flat=flat)
    fit, heeded = given_from_found(found, moved(found, SIMILARITY))
    np.testing.assert_allclose(fit, SIMILARITY, atol=1e-8)
    assert heeded.all()


def test_moved_cameras_see_moved_points_as_before():
    found, points = ring(), np.random.default_rng(1).normal(size=(12, 3))
    there = moved(found, SIMILARITY)
    before = np.einsum("kij,kj->ki", found[:, :, :3], points) + found[:, :, 3]
    points = points @ SIMILARITY[:3, :3].T + SIMILARITY[:3, 3]
    after = np.einsum("kij,kj->ki", there[:, :, :3], points) + there[:, :, 3]
    np.testing.assert_allclose(after, 3.7 * before, atol=1e-9)


@pytest.mark.parametrize("flat", [False, True], ids=["about", "on a line"])
def test_rough_cameras_keep_their_frame_and_one_wrong_camera_does_not_bend_it(flat):
    found = ring(40, flat)
    given = perturbed(moved(found, SIMILARITY), 3.0, 0.5)
    given[3] = perturbed(given[3:4], 120.0, 60.0)[0]
    fit, heeded = given_from_found(found, given)
    assert not heeded[3]
    assert heeded.sum() > 30
    scale = np.cbrt(np.linalg.det(fit[:3, :3]))
    assert rotation_angle(fit[:3, :3] / scale @ SIMILARITY[:3, :3].T / 3.7) < 1.0
    assert scale == pytest.approx(3.7, rel=0.05)


def test_the_surer_of_places_and_turns_decides():
    found = ring(40)
    exact_places = perturbed(moved(found, SIMILARITY), 10.0, 1e-6)
    exact_turns = perturbed(moved(found, SIMILARITY), 1e-6, 1.0)
    for given in (exact_places, exact_turns):
        fit, _ = given_from_found(found, given)
        assert rotation_angle(fit[:3, :3] / np.cbrt(np.linalg.det(fit[:3, :3])) @ SIMILARITY[:3, :3].T / 3.7) < 0.1


def test_two_cameras_are_enough():
    found = ring(2)
    fit, _ = given_from_found(found, moved(found, SIMILARITY))
    np.testing.assert_allclose(fit, SIMILARITY, atol=1e-8)
