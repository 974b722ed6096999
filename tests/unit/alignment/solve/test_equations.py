from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.samples import draw_samples
from dust3r_sfm.alignment.solve.equations import Equations, Problem, normal_equations
from dust3r_sfm.alignment.solve.gauss_newton import start_depths
from dust3r_sfm.alignment.solve.image_data import weighted_images
from dust3r_sfm.alignment.solve.linear import matrix_product
from dust3r_sfm.alignment.solve.penalty import edge_penalty
from dust3r_sfm.alignment.solve.unknowns import FREE, TIED, Parametrization, Unknowns, moved, scale_gauge
from dust3r_sfm.alignment.solve.votes import Loss
from dust3r_sfm.geometry.transforms import invert, rotation_exp

LOSSES = [Loss(width=None), Loss(width=0.05)]
PARAMETRIZATIONS = [
    Parametrization(cameras=np.array([0, 0, 1]), stiffness=TIED),
    Parametrization(cameras=np.arange(3), stiffness=FREE, free_principal=True),
    Parametrization(cameras=np.zeros(3, np.int64), stiffness=0.1, known_poses=np.array([False, True, False])),
    Parametrization(
        cameras=np.arange(3), known_poses=np.array([True, False, True]), known_intrinsics=np.array([True, False, False])
    ),
]


class Case:
    """A placement near the truth of a small problem, and its equations after a step."""

    def __init__(self, problem, parametrization: Parametrization, loss: Loss, off: float) -> None:
        rng = np.random.default_rng(0)
        self.samples = draw_samples(problem.images, problem.predictions, 100)
        edges = self.samples.edges
        world_from_cam = invert(problem.cam_from_world)
        sources = edges[:, 0]
        scales = [problem.depths[i][0, 0] / problem.predictions[i, j].points1[0, 0, 2] for i, j in edges.tolist()]
        turns = rotation_exp(rng.normal(size=(len(edges), 3)) * (0 if parametrization.tied else 2 * off))
        moves = rng.normal(size=(len(edges), 3)) * (0 if parametrization.tied else 2 * off)
        rotations = world_from_cam[:, :, :3] @ rotation_exp(rng.normal(size=(3, 3)) * off)
        centres = world_from_cam[:, :, 3] + rng.normal(size=(3, 3)) * off
        self.placement = Placement(
            rotations=rotations,
            centres=centres,
            focals=problem.focals * (1 + off),
            principal=np.zeros((3, 2)),
            edge_rotations=rotations[sources] @ turns,
            edge_centres=centres[sources] + moves,
            log_scales=np.log(np.array(scales, np.float64)) + rng.normal(size=len(edges)) * off,
            free=parametrization.stiffness == FREE,
        )
        weights = rng.uniform(0.5, 1, len(edges))
        weights[2] = 0
        self.depths = start_depths(self.samples, self.placement, weights, loss)
        images, stiffness = weighted_images(self.samples, weights, self.depths), parametrization.stiffness
        self.unknowns = Unknowns(parametrization, edges, weights > 0)
        penalty = edge_penalty(images, len(edges), stiffness) if FREE < stiffness < TIED else None
        self.problem = Problem(images=images, unknowns=self.unknowns, loss=loss, penalty=penalty)

    def after(self, step: np.ndarray) -> Equations:
        placement = moved(self.placement, step, self.unknowns)
        return normal_equations(self.problem, placement, self.depths, rounds=150)

    def along(self, gradient: np.ndarray) -> np.ndarray:
        """Slopes of the cost when steps do not change the mean scale."""
        gauge = scale_gauge(self.placement, self.unknowns)
        return gradient if gauge is None else gradient - gauge[1] * (gauge[0] @ gradient) / (gauge[0] @ gauge[1])


def dense_matrix(equations: Equations) -> np.ndarray:
    product = matrix_product(equations, np.zeros(len(equations.gradient)))
    return np.stack([product(column) for column in np.eye(len(equations.gradient))])


@pytest.mark.parametrize("loss", LOSSES, ids=["l1", "cauchy"])
@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS, ids=["tied", "free", "soft", "known"])
def test_the_gradient_is_that_of_the_cost_at_the_best_depths(make_problem, parametrization, loss):
    case = Case(make_problem(num_images=3, noise=0.02, one_camera=False), parametrization, loss, 0.03)
    size = case.unknowns.size
    gradient = case.along(case.after(np.zeros(size)).gradient)
    steps = np.eye(size) * 3e-4
    slopes = [(case.after(step).cost - case.after(-step).cost) / 6e-4 for step in steps]
    np.testing.assert_allclose(gradient, slopes, atol=4e-3 * np.abs(gradient).max())


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS, ids=["tied", "free", "soft", "known"])
def test_the_matrix_is_the_second_derivative_where_residuals_vanish(make_problem, parametrization):
    # With a wide loss the weights do not change, and without residuals Gauss-Newton is exact.
    case = Case(make_problem(num_images=3, one_camera=False), parametrization, Loss(width=10.0), 0.0)
    size = case.unknowns.size
    matrix = dense_matrix(case.after(np.zeros(size)))
    gauge = scale_gauge(case.placement, case.unknowns)
    if gauge is not None:
        keep = np.eye(size) - np.outer(gauge[0], gauge[1]) / (gauge[0] @ gauge[1])
        matrix = keep.T @ matrix @ keep
    steps = np.eye(size) * 3e-3
    found = [(case.along(case.after(s).gradient) - case.along(case.after(-s).gradient)) / 6e-3 for s in steps]
    np.testing.assert_allclose(np.array(found), matrix, atol=2e-3 * np.abs(matrix).max())


def test_nothing_holds_what_only_moves_or_scales_the_world(make_problem):
    case = Case(
        make_problem(num_images=3, noise=0.02), replace(PARAMETRIZATIONS[1], free_principal=False), LOSSES[1], 0.03
    )
    equations = case.after(np.zeros(case.unknowns.size))
    grow = scale_gauge(case.placement, case.unknowns)[0]
    matrix = dense_matrix(equations)
    assert np.abs(matrix @ grow).max() < 1e-9 * np.abs(matrix).max()
    values = np.linalg.eigvalsh(matrix)
    assert (np.abs(values[:7]) < 1e-9 * values[-1]).all()
    assert values[7] > 0
