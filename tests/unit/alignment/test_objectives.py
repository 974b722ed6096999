"""What the L1 objectives minimize, against their formulas written out pixel by pixel."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.alignment import align
from dust3r_sfm.alignment.samples import draw_samples
from dust3r_sfm.alignment.solve.equations import Problem, normal_equations
from dust3r_sfm.alignment.solve.gauss_newton import start_depths
from dust3r_sfm.alignment.solve.image_data import weighted_images
from dust3r_sfm.alignment.solve.unknowns import FREE, Parametrization, Unknowns
from dust3r_sfm.alignment.solve.votes import Loss
from dust3r_sfm.alignment.start.initialize import initialize
from dust3r_sfm.alignment.start.pairwise import relative_poses
from dust3r_sfm.geometry.pinhole import rays
from dust3r_sfm.geometry.transforms import invert
from dust3r_sfm.options import AlignOptions
from dust3r_sfm.types import Scene

EVERY_PIXEL = 18 * 24
WEIGHTS = {"paper": lambda confidence: confidence, "reference": np.log}


def _formula(scene: Scene, predictions: dict, weight: Callable[[np.ndarray], np.ndarray]) -> float:
    """Σ w |world point of the pixel − prediction moved by its pair's similarity| (Wang et al. 2024, equation 5)."""
    shape = scene.depths[0].shape
    maps = [
        rays(*shape, matrix).astype(np.float64) * depth[..., None]
        for matrix, depth in zip(scene.intrinsics, scene.depths, strict=True)
    ]
    world_from_cam, total = invert(scene.cam_from_world), 0.0
    for edge, world_from_edge in zip(scene.edges.tolist(), scene.world_from_edge, strict=True):
        prediction = predictions[tuple(edge)]
        sides = ((prediction.points1, prediction.confidence1), (prediction.points2, prediction.confidence2))
        for image, (points, confidence) in zip(edge, sides, strict=True):
            seen = maps[image] @ world_from_cam[image, :, :3].T + world_from_cam[image, :, 3]
            said = points @ world_from_edge[:3, :3].T + world_from_edge[:3, 3]
            total += float((weight(confidence.astype(np.float64)) * np.linalg.norm(seen - said, axis=-1)).sum())
    return total


@pytest.fixture
def problem(make_problem):
    """Predictions that are off by so much that the bend of L1 at 0 does not count."""
    found, rng = make_problem(num_images=3, noise=0.2, one_camera=False), np.random.default_rng(1)
    for prediction in found.predictions.values():
        prediction.confidence1[:] = rng.uniform(1.1, 30, prediction.confidence1.shape)
        prediction.confidence2[:] = rng.uniform(1.1, 30, prediction.confidence2.shape)
    return found


@pytest.mark.parametrize("objective", WEIGHTS)
def test_the_cost_is_the_formula_at_the_same_placement(problem, objective):
    loss = Loss(width=None, linear=objective == "paper")
    samples = draw_samples(problem.images, problem.predictions, EVERY_PIXEL)
    start = initialize(samples, relative_poses(samples, problem.focals), problem.focals, np.random.default_rng(0))
    placement = replace(start.placement, free=True)
    if loss.linear:
        samples = samples.weighted_by(loss.confidence_weight)
    ones = np.ones(len(samples.edges))
    depths = start_depths(samples, placement, ones, loss)
    unknowns = Unknowns(Parametrization(cameras=np.arange(3), stiffness=FREE), samples.edges, ones > 0)
    given = Problem(images=weighted_images(samples, ones, depths), unknowns=unknowns, loss=loss)
    equations = normal_equations(given, placement, depths, rounds=50)

    expected = 0.0
    for index, image in enumerate(samples.images):
        focal, depth = placement.focals[index], equations.depths[index].astype(np.float64)
        own = np.c_[image.xy / focal, np.ones(len(image.xy))] * depth[:, None]
        own = own @ placement.rotations[index].T + placement.centres[index]
        rows, columns = (image.xy[:, ::-1] + np.array([9, 12]) - 0.5).round().astype(int).T
        for edge, role in zip(image.edges, image.roles, strict=True):
            prediction = problem.predictions[tuple(samples.edges[edge].tolist())]
            points, confidence = (
                (prediction.points2, prediction.confidence2) if role else (prediction.points1, prediction.confidence1)
            )
            scale = np.exp(placement.log_scales[edge])
            said = scale * points[rows, columns] @ placement.edge_rotations[edge].T + placement.edge_centres[edge]
            distance = np.linalg.norm(own - said, axis=1)
            expected += (WEIGHTS[objective](confidence[rows, columns].astype(np.float64)) * distance).sum()
    assert equations.cost == pytest.approx(expected, rel=1e-3)
    other = "reference" if objective == "paper" else "paper"
    assert abs(equations.cost / expected - 1) < abs(WEIGHTS[other](10.0) / WEIGHTS[objective](10.0) - 1) / 100


def test_each_objective_is_lowest_where_it_was_minimized(problem):
    scenes = {
        objective: align(
            problem.images,
            problem.predictions,
            AlignOptions(objective=objective, num_samples=EVERY_PIXEL, shared_focal=False, max_steps=200),
        )
        for objective in ("paper", "reference")
    }
    costs = {
        (name, objective): _formula(scene, problem.predictions, WEIGHTS[objective])
        / np.exp(np.log(np.cbrt(np.linalg.det(scene.world_from_edge[:, :3, :3]))).mean())
        for name, scene in scenes.items()
        for objective in WEIGHTS
    }
    assert costs["paper", "paper"] < costs["reference", "paper"]
    assert costs["reference", "reference"] < costs["paper", "reference"]


def test_what_is_not_known_weighs_nothing_in_either():
    excess = np.array([0.0, 1.0, 9.0], np.float32)
    np.testing.assert_allclose(Loss(width=None, linear=True).confidence_weight(excess), [0, 2, 10])
    np.testing.assert_allclose(Loss(width=None).confidence_weight(excess), np.log([1, 2, 10]), rtol=1e-6)
