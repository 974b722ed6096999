import numpy as np
import pytest

from dust3r_sfm.alignment.samples import draw_samples
from dust3r_sfm.alignment.start.initialize import average_positions, average_rotations, initialize
from dust3r_sfm.alignment.start.pairwise import RelativePoses, focals_of_cameras, relative_poses
from dust3r_sfm.geometry.transforms import rotation_angle, rotation_exp


def _pairs(rotations: np.ndarray) -> RelativePoses:
    num_images = len(rotations)
    images = np.array([(i, j) for i in range(num_images) for j in range(i + 1, num_images)])
    num_pairs = len(images)
    return RelativePoses(
        images=images,
        edges=np.arange(2 * num_pairs).reshape(2, -1).T,
        rotations=rotations[images[:, 0]].transpose(0, 2, 1) @ rotations[images[:, 1]],
        centres=np.zeros((num_pairs, 2, 3)),
        log_ratios=np.zeros(num_pairs),
        qualities=np.ones(num_pairs),
    )


def test_rotations_are_averaged_past_a_quarter_of_wrong_pairs():
    rng = np.random.default_rng(0)
    truth = rotation_exp(rng.normal(size=(10, 3)))
    pairs = _pairs(truth)
    wrong = rng.permutation(len(pairs.images)) < len(pairs.images) // 4
    pairs.rotations[wrong] = rotation_exp(rng.normal(size=(wrong.sum(), 3)))
    start = rotation_exp(rng.normal(size=(10, 3)) * 0.1) @ truth
    found = average_rotations(start[None], pairs, np.ones(len(wrong)))[0]
    turn = found @ truth.transpose(0, 2, 1)
    assert rotation_angle(turn @ turn[0].T).max() < 0.05


def test_positions_are_averaged_past_a_third_of_wrong_baselines():
    rng = np.random.default_rng(1)
    pairs = _pairs(np.tile(np.eye(3), (9, 1, 1)))
    truth = rng.normal(size=(9, 3))
    truth -= truth.mean(0)
    steps = truth[pairs.images[:, 1]] - truth[pairs.images[:, 0]]
    wrong = rng.permutation(len(steps)) < len(steps) // 3
    steps[wrong] = rng.normal(size=(wrong.sum(), 3))
    ones = np.ones(len(steps))
    np.testing.assert_allclose(average_positions(9, pairs, steps, ones, ones, rng), truth, atol=0.02)


@pytest.mark.parametrize("bad", [0.0, 0.3])
def test_the_first_placement_is_close_and_trusts_only_good_pairs(make_problem, bad):
    problem = make_problem(num_images=8, noise=0.01, bad=bad)
    samples = draw_samples(problem.images, problem.predictions, 300)
    focals = focals_of_cameras(samples, np.zeros(8, np.int64), np.full(8, 24.0))
    np.testing.assert_allclose(focals, 22, rtol=1e-5)
    start = initialize(samples, relative_poses(samples, focals), focals, np.random.default_rng(0))
    placement, trust = start.placement, start.trust
    world_to_cam = placement.rotations.transpose(0, 2, 1)
    poses = np.concatenate([world_to_cam, -(world_to_cam @ placement.centres[:, :, None])], axis=2)
    angle, distance = problem.errors(poses)
    assert angle < 1
    assert distance < 0.04
    is_bad = np.array([tuple(edge) in problem.bad for edge in samples.edges.tolist()])
    assert bad == 0 or trust[is_bad].max() < 0.2 * np.median(trust[~is_bad])


def test_cameras_without_an_edge_take_the_angle_of_view_of_the_others(make_problem):
    problem = make_problem(num_images=3, edges=[(0, 1), (1, 0), (0, 2)], one_camera=False)
    samples = draw_samples(problem.images, problem.predictions, 300)
    focals = focals_of_cameras(samples, np.arange(3), np.array([24.0, 24.0, 48.0]))
    np.testing.assert_allclose(focals[:2], problem.focals[:2], rtol=1e-5)
    assert focals[2] / 2 == pytest.approx(focals[:2].min(), rel=1e-5) or focals[:2].min() < focals[2] / 2 < focals.max()
    nothing = draw_samples(problem.images, {}, 300)
    assert np.isfinite(focals_of_cameras(nothing, np.arange(3), np.full(3, 24.0))).all()
