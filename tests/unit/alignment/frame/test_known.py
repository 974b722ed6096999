from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.alignment import align
from dust3r_sfm.geometry.transforms import centres, compose, invert, rotation_angle, rotation_exp
from dust3r_sfm.options import AlignOptions
from dust3r_sfm.types import ImageSet


def _with(images: ImageSet, **known: dict[int, np.ndarray]) -> ImageSet:
    views = list(images.views)
    for field, values in known.items():
        for index, value in values.items():
            views[index] = replace(views[index], **{field: value})
    return replace(images, views=tuple(views))


@pytest.fixture
def problem(make_problem):
    """A problem whose world is nobody's camera frame."""
    found = make_problem(num_images=5, noise=0.01)
    other = np.c_[rotation_exp(np.array([0.3, -1.0, 0.4])), [4.0, -2.0, 7.0]]
    found.cam_from_world = compose(found.cam_from_world, invert(other)[None])
    return found


@pytest.mark.parametrize("which", [(1,), (0, 3), (1, 2, 4), (0, 1, 2, 3, 4)])
def test_known_poses_are_kept_to_the_bit_and_give_frame_and_scale(problem, which):
    images = _with(problem.images, known_cam_from_world={i: problem.cam_from_world[i] for i in which})
    scene = align(images, problem.predictions, AlignOptions())
    for i in which:
        np.testing.assert_array_equal(scene.cam_from_world[i], problem.cam_from_world[i])
    assert rotation_angle(scene.cam_from_world[:, :, :3] @ problem.cam_from_world[:, :, :3].swapaxes(1, 2)).max() < 1
    if len(which) > 1:
        miss = np.linalg.norm(centres(scene.cam_from_world) - centres(problem.cam_from_world), axis=1)
        assert miss.max() < 0.15
        np.testing.assert_allclose(np.stack(scene.depths) / problem.depths, 1, atol=0.15)


def test_known_poses_help_those_that_are_not_known(problem, make_problem):
    poses = problem.cam_from_world
    images = _with(problem.images, known_cam_from_world={i: poses[i] for i in range(4)})
    with_known = align(images, problem.predictions, AlignOptions()).cam_from_world
    without = problem.errors(align(problem.images, problem.predictions, AlignOptions()).cam_from_world)
    assert problem.errors(with_known)[1] < without[1]


def test_known_intrinsics_are_kept_to_the_bit(make_problem):
    problem = make_problem(num_images=4, noise=0.01, one_camera=False)
    width, height = problem.images.views[0].network_size
    known = {
        i: np.array([[problem.focals[i], 0, width / 2], [0, problem.focals[i], height / 2], [0, 0, 1]]) for i in (0, 2)
    }
    scene = align(_with(problem.images, known_intrinsics=known), problem.predictions, AlignOptions())
    for i, matrix in known.items():
        np.testing.assert_array_equal(scene.intrinsics[i], matrix)
    assert problem.errors(scene.cam_from_world)[0] < 1


def test_metric_predictions_give_a_metric_scene(make_problem):
    problem = make_problem(num_images=4, noise=0.01)
    factors = {(i, j): problem.depths[i] / p.points1[..., 2] for (i, j), p in problem.predictions.items()}
    predictions = {
        edge: replace(
            p,
            points1=p.points1 * np.float32(np.median(factors[edge])),
            points2=p.points2 * np.float32(np.median(factors[edge])),
        )
        for edge, p in problem.predictions.items()
    }
    scene = align(problem.images, predictions, AlignOptions(metric=True))
    np.testing.assert_allclose(np.cbrt(np.linalg.det(scene.world_from_edge[:, :3, :3])), 1, atol=1e-9)
    found, truth = centres(scene.cam_from_world), centres(problem.cam_from_world)
    assert np.linalg.norm(found[1] - found[3]) == pytest.approx(np.linalg.norm(truth[1] - truth[3]), rel=0.03)


def test_a_free_principal_point_is_found(make_problem):
    problem = make_problem(num_images=6)
    shift = np.array([[1.0, 0, 1.5], [0, 1, -1.0], [0, 0, 1]])
    views = [replace(v, network_from_image=shift @ v.network_from_image) for v in problem.images.views]
    images = replace(problem.images, views=tuple(views))
    scene = align(images, problem.predictions, AlignOptions(free_principal_point=True))
    width, height = views[0].network_size
    np.testing.assert_allclose(scene.intrinsics[:, :2, 2], [[width / 2, height / 2]] * 6, atol=0.05)
    assert problem.errors(scene.cam_from_world)[0] < 0.1
