from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from dust3r_sfm.alignment import align
from dust3r_sfm.errors import PredictorError, ReconstructionError
from dust3r_sfm.geometry.transforms import rotation_exp
from dust3r_sfm.options import AlignOptions
from dust3r_sfm.types import ImageSet, PairPrediction, Scene

ROBUST = AlignOptions()
PAPER, REFERENCE = AlignOptions(objective="paper"), AlignOptions(objective="reference")


def _assert_finite(scene: Scene) -> None:
    for values in (scene.intrinsics, scene.cam_from_world, scene.world_from_edge, scene.edge_weights):
        assert np.isfinite(values).all()
    assert all(np.isfinite(d).all() and (d >= 0).all() for d in scene.depths)
    assert all(np.isfinite(c).all() and (c >= 1).all() for c in scene.confidences)


@pytest.mark.parametrize("options", [ROBUST, PAPER, REFERENCE], ids=["robust", "paper", "reference"])
@pytest.mark.parametrize("one_camera", [True, False])
def test_exact_predictions_give_exact_cameras(make_problem, options, one_camera):
    problem = make_problem(one_camera=one_camera)
    scene = align(problem.images, problem.predictions, options)
    angle, distance = problem.errors(scene.cam_from_world)
    assert scene.registered.all() and not scene.warnings
    assert angle < np.degrees(1e-6)
    assert distance < 1e-6
    np.testing.assert_allclose(scene.intrinsics[:, 0, 0], problem.focals, rtol=1e-6)
    np.testing.assert_array_equal(scene.cam_from_world[0], np.eye(3, 4))
    ratio = np.stack(scene.depths) / problem.depths
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-5)


def test_edges_map_pointmaps_onto_the_scene(make_problem):
    problem = make_problem(num_images=4)
    scene = align(problem.images, problem.predictions, ROBUST)
    for edge, world_from_edge in zip(scene.edges, scene.world_from_edge, strict=True):
        prediction = problem.predictions[tuple(edge.tolist())]
        world = prediction.points2.reshape(-1, 3) @ world_from_edge[:3, :3].T + world_from_edge[:3, 3]
        pose = scene.cam_from_world[edge[1]]
        depth = (world @ pose[:, :3].T + pose[:, 3])[:, 2].reshape(scene.depths[edge[1]].shape)
        np.testing.assert_allclose(depth, scene.depths[edge[1]], rtol=1e-4)


def test_noise_moves_cameras_little_and_is_reported(make_problem):
    problem = make_problem(num_images=8, noise=0.02)
    scene = align(problem.images, problem.predictions, ROBUST)
    angle, distance = problem.errors(scene.cam_from_world)
    assert angle < 0.5
    assert distance < 0.02
    assert (scene.edge_weights > 0.2).all()
    assert 0.001 < np.median(scene.edge_residuals) < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_a_third_of_pairs_wrong_in_both_directions_is_found_and_left_out(make_problem, seed):
    problem = make_problem(num_images=9, noise=0.01, bad=0.33, seed=seed)
    scene = align(problem.images, problem.predictions, ROBUST)
    angle, distance = problem.errors(scene.cam_from_world)
    assert scene.registered.all()
    assert angle < 0.7
    assert distance < 0.03
    bad = np.array([tuple(edge) in problem.bad for edge in scene.edges.tolist()])
    assert bad.sum() == 24
    assert (scene.edge_weights[bad] == 0).all()
    assert (scene.edge_weights[~bad] > 0).all()


@pytest.mark.parametrize("num_images", [2, 5])
def test_pairs_in_one_direction_are_enough(make_problem, num_images):
    problem = make_problem(num_images=num_images, edges=list(combinations(range(num_images), 2)))
    scene = align(problem.images, problem.predictions, ROBUST)
    angle, distance = problem.errors(scene.cam_from_world)
    assert scene.registered.all()
    assert angle < 1e-4
    assert num_images == 2 or distance < 1e-5
    assert all((depth > 0).all() for depth in scene.depths)


def test_one_direction_finds_the_focal_of_an_image_that_starts_no_edge(make_problem):
    problem = make_problem(num_images=4, edges=list(combinations(range(4), 2)), one_camera=False)
    scene = align(problem.images, problem.predictions, ROBUST)
    np.testing.assert_allclose(scene.intrinsics[:, 0, 0], problem.focals, rtol=1e-4)


@pytest.mark.parametrize("options", [ROBUST, PAPER, REFERENCE], ids=["robust", "paper", "reference"])
def test_two_images_are_a_scene(make_problem, options):
    problem = make_problem(num_images=2)
    scene = align(problem.images, problem.predictions, options)
    assert scene.registered.all()
    assert problem.errors(scene.cam_from_world)[0] < np.degrees(1e-6)
    np.testing.assert_allclose(scene.intrinsics[:, 0, 0], 22, rtol=1e-6)


def test_one_photograph_is_placed_at_the_origin(make_problem):
    problem = make_problem(num_images=1, edges=[])
    scene = align(problem.images, {}, ROBUST)
    assert scene.registered.tolist() == [True]
    np.testing.assert_array_equal(scene.cam_from_world, np.eye(3, 4)[None])
    assert (scene.depths[0] == 0).all()
    _assert_finite(scene)


def test_of_two_groups_the_larger_is_solved_and_the_other_named(make_problem):
    groups = [(0, 1, 2, 6), (3, 4, 5)]
    edges = [e for g in groups for p in combinations(g, 2) for e in (p, p[::-1])]
    problem = make_problem(num_images=8, edges=edges)
    scene = align(problem.images, problem.predictions, ROBUST)
    assert np.flatnonzero(scene.registered).tolist() == [0, 1, 2, 6]
    assert problem.errors(scene.cam_from_world, scene.registered)[1] < 1e-6
    assert "003.png, 004.png, 005.png" in scene.warnings[1]
    assert "007.png" in scene.warnings[0]
    outside = np.isin(scene.edges, groups[1]).any(1)
    assert (scene.edge_weights[outside] == 0).all()
    assert (scene.edge_weights[~outside] > 0.9).all()


def test_an_image_whose_pairs_are_all_wrong_is_not_placed(make_problem):
    problem = make_problem(num_images=7, noise=0.005)
    wrong = make_problem(num_images=7, noise=0.005, bad=1.0, seed=3)
    predictions = {e: (wrong if 4 in e else problem).predictions[e] for e in problem.predictions}
    scene = align(problem.images, predictions, ROBUST)
    assert np.flatnonzero(~scene.registered).tolist() == [4]
    assert "004.png" in scene.warnings[0]
    assert problem.errors(scene.cam_from_world, scene.registered)[0] < 0.5


def test_an_image_on_a_single_pair_is_placed_with_a_warning(make_problem):
    edges = [e for p in [*combinations(range(4), 2), (3, 4)] for e in (p, p[::-1])]
    problem = make_problem(num_images=5, edges=edges)
    scene = align(problem.images, problem.predictions, ROBUST)
    assert scene.registered.all()
    assert problem.errors(scene.cam_from_world)[1] < 1e-6
    assert "004.png" in scene.warnings[0] and "one pair" in scene.warnings[0]


def test_pairs_that_know_nothing_are_not_used(make_problem):
    problem = make_problem(num_images=5)
    rng, predictions = np.random.default_rng(0), dict(problem.predictions)
    for edge in [(0, 2), (2, 0), (1, 4)]:
        nothing = predictions[edge]
        predictions[edge] = PairPrediction(
            points1=rng.normal(size=nothing.points1.shape).astype(np.float32),
            confidence1=np.ones_like(nothing.confidence1),
            points2=rng.normal(size=nothing.points2.shape).astype(np.float32),
            confidence2=np.ones_like(nothing.confidence2),
        )
    scene = align(problem.images, predictions, ROBUST)
    assert not {(0, 2), (2, 0), (1, 4)} & set(map(tuple, scene.edges.tolist()))
    assert problem.errors(scene.cam_from_world)[1] < 1e-6
    with pytest.raises(ReconstructionError, match="overlap"):
        align(problem.images, {(0, 2): predictions[0, 2]}, ROBUST)


@pytest.mark.parametrize("options", [ROBUST, PAPER, REFERENCE], ids=["robust", "paper", "reference"])
def test_numbers_that_are_not_finite_do_not_spread(make_problem, options):
    problem = make_problem(num_images=4)
    rng, predictions = np.random.default_rng(0), {}
    for edge, prediction in problem.predictions.items():
        points1, confidence2 = prediction.points1.copy(), prediction.confidence2.copy()
        points1[rng.uniform(size=points1.shape[:2]) < 0.1] = np.nan
        points1[rng.uniform(size=points1.shape[:2]) < 0.05, 2] = np.inf
        confidence2[rng.uniform(size=confidence2.shape) < 0.1] = np.inf
        confidence2[0] = np.nan
        predictions[edge] = replace(prediction, points1=points1, confidence2=confidence2)
    scene = align(problem.images, predictions, options)
    _assert_finite(scene)
    assert problem.errors(scene.cam_from_world)[1] < 1e-5


@pytest.mark.parametrize("options", [ROBUST, PAPER, REFERENCE], ids=["robust", "paper", "reference"])
def test_pure_rotation_gives_the_rotations_and_no_nan(make_problem, options):
    turns = np.stack([rotation_exp(np.array([0.05 * k, 0.25 * k, 0.02 * k])) for k in range(4)])
    centre = np.array([0.3, -0.2, -3.5])
    poses = np.concatenate([turns, -(turns @ centre)[:, :, None]], axis=2)
    problem = make_problem(cam_from_world=poses, noise=0.005)
    scene = align(problem.images, problem.predictions, options)
    _assert_finite(scene)
    relative = scene.cam_from_world[:, :, :3] @ (turns @ turns[0].T).transpose(0, 2, 1)
    np.testing.assert_allclose(relative, np.tile(np.eye(3), (4, 1, 1)), atol=0.02)


def test_constant_depth_gives_no_nan(make_problem):
    problem = make_problem(num_images=3)
    predictions = {}
    for edge, prediction in problem.predictions.items():
        points = prediction.points1 / prediction.points1[..., 2:]
        predictions[edge] = replace(prediction, points1=points, points2=points)
    _assert_finite(align(problem.images, predictions, ROBUST))


def test_the_scale_of_an_edge_does_not_matter(make_problem):
    problem, rng = make_problem(num_images=5, noise=0.01), np.random.default_rng(5)
    scaled = {}
    for edge, prediction in problem.predictions.items():
        factor = np.float32(2.0 ** rng.integers(-3, 4))
        scaled[edge] = replace(prediction, points1=prediction.points1 * factor, points2=prediction.points2 * factor)
    first, second = align(problem.images, problem.predictions, ROBUST), align(problem.images, scaled, ROBUST)
    unit = np.linalg.norm(second.cam_from_world[-1, :, 3]) / np.linalg.norm(first.cam_from_world[-1, :, 3])
    np.testing.assert_allclose(second.cam_from_world[:, :, :3], first.cam_from_world[:, :, :3], atol=1e-5)
    np.testing.assert_allclose(second.cam_from_world[:, :, 3], first.cam_from_world[:, :, 3] * unit, atol=1e-4 * unit)


def test_the_order_of_the_images_does_not_matter(make_problem):
    problem = make_problem(num_images=6, noise=0.01, bad=0.2, seed=2)
    order = np.array([3, 0, 5, 1, 4, 2])
    place = np.argsort(order)
    images = ImageSet(root=problem.images.root, views=tuple(problem.images.views[i] for i in order))
    predictions = {(int(place[i]), int(place[j])): p for (i, j), p in problem.predictions.items()}
    first, second = align(problem.images, problem.predictions, ROBUST), align(images, predictions, ROBUST)
    back = second.cam_from_world[place]
    relative = back[:, :, :3] @ back[0, :, :3].T
    np.testing.assert_allclose(relative, first.cam_from_world[:, :, :3], atol=1e-4)


def test_the_same_seed_gives_the_same_scene(make_problem):
    problem = make_problem(num_images=5, noise=0.01, bad=0.2)
    first = align(problem.images, problem.predictions, ROBUST, seed=4)
    second = align(problem.images, problem.predictions, ROBUST, seed=4)
    np.testing.assert_array_equal(first.cam_from_world, second.cam_from_world)
    np.testing.assert_array_equal(first.depths[2], second.depths[2])


def test_photographs_of_one_camera_share_their_focal_unless_told_otherwise(make_problem):
    problem = make_problem(num_images=5, noise=0.02)
    shared = align(problem.images, problem.predictions, ROBUST).intrinsics[:, 0, 0]
    free = align(problem.images, problem.predictions, AlignOptions(shared_focal=False)).intrinsics[:, 0, 0]
    assert len(np.unique(shared)) == 1
    assert len(np.unique(free)) == 5


def test_every_prediction_is_read_at_most_twice_and_progress_ends_at_its_total(make_problem):
    problem, calls, reads = make_problem(num_images=5), [], Counter()

    class Counting(dict):
        def __getitem__(self, edge):
            reads[edge] += 1
            return super().__getitem__(edge)

    align(
        problem.images, Counting(problem.predictions), ROBUST, progress=lambda done, total: calls.append((done, total))
    )
    del reads[0, 1]  # the run-time type checker of the tests looks at the first one too
    assert len(reads) == 19 and max(reads.values()) <= 2
    assert calls[-1] == (40, 40)
    assert calls == sorted(calls)


def test_a_prediction_of_another_size_is_refused_by_name(make_problem):
    problem, other = make_problem(num_images=3), make_problem(num_images=3, shape=(18, 22))
    predictions = {**problem.predictions, (1, 2): other.predictions[1, 2]}
    with pytest.raises(PredictorError, match=r"001\.png and 002\.png"):
        align(problem.images, predictions, ROBUST)
