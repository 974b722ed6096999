"""A scene on its known cameras."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dust3r_sfm.alignment import align
from dust3r_sfm.alignment.frame.anchor import anchored
from dust3r_sfm.alignment.frame.metric import transform_scene
from dust3r_sfm.geometry.transforms import centres
from dust3r_sfm.options import AlignOptions


@pytest.fixture
def aligned(make_problem):
    problem = make_problem(num_images=5)
    return problem, align(problem.images, problem.predictions, AlignOptions())


def with_poses(images, cam_from_world, which):
    views = [
        replace(view, known_cam_from_world=cam_from_world[index]) if index in which else view
        for index, view in enumerate(images.views)
    ]
    return replace(images, views=tuple(views))


@pytest.mark.parametrize("which", [(0, 1, 2, 3, 4), (1, 3, 4), (0, 2)])
def test_known_poses_are_exact_and_the_others_follow(aligned, which):
    problem, scene = aligned
    own = np.eye(4)
    own[:3, :3], own[:3, 3] = 0.2 * Rotation.from_rotvec([1.0, -0.4, 0.3]).as_matrix(), [3, -1, 2]
    images = with_poses(problem.images, problem.cam_from_world, which)
    found = anchored(transform_scene(scene, own), images)
    for index in which:
        np.testing.assert_array_equal(found.cam_from_world[index], problem.cam_from_world[index])
    spread = np.ptp(centres(problem.cam_from_world), axis=0).max()
    assert np.abs(centres(found.cam_from_world) - centres(problem.cam_from_world)).max() < 0.02 * spread
    assert found.known_poses.tolist() == [index in which for index in range(5)]


def test_a_scene_that_fits_stays_as_it_is(aligned):
    problem, scene = aligned
    images = with_poses(problem.images, scene.cam_from_world, (0, 2))
    found = anchored(scene, images)
    np.testing.assert_array_equal(found.cam_from_world, scene.cam_from_world)
    assert all((a == b).all() for a, b in zip(found.depths, scene.depths, strict=True))


def test_known_intrinsics_are_exact(aligned):
    problem, scene = aligned
    matrix = np.array([[300.0, 0, 50], [0, 310, 40], [0, 0, 1]])
    views = (replace(problem.images.views[0], known_intrinsics=matrix), *problem.images.views[1:])
    found = anchored(scene, replace(problem.images, views=views))
    np.testing.assert_array_equal(found.intrinsics[0], matrix)
    np.testing.assert_array_equal(found.intrinsics[1:], scene.intrinsics[1:])
