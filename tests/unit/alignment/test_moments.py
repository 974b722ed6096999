import numpy as np
import pytest

from dust3r_sfm.alignment.moments import (
    CAMERA_FOCAL,
    CAMERA_MOVE,
    CAMERA_TURN,
    EDGE_MOVE,
    EDGE_SCALE,
    EDGE_TURN,
    Loss,
    image_terms,
    solve_depths,
    vote,
)
from dust3r_sfm.geometry.transforms import rotation_exp

NUM_EDGES, NUM_PIXELS = 3, 40
LOSSES = [Loss(width=None), Loss(width=0.05)]


class ImageProblem:
    """One image with random predictions near its rays; parameters are steps from a random state."""

    def __init__(self, noise: float = 0.1, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.xy, self.focal = rng.uniform(-20, 20, (2, NUM_PIXELS)), 30.0
        self.rotation, self.centre = rotation_exp(rng.normal(size=3)), rng.normal(size=3)
        self.edge_rotations = rotation_exp(rng.normal(size=(NUM_EDGES, 3)))
        self.edge_centres, self.log_scales = rng.normal(size=(NUM_EDGES, 3)), rng.normal(size=NUM_EDGES) * 0.3
        self.depths = rng.uniform(2, 4, NUM_PIXELS)
        self.scales = self.depths * rng.uniform(0.9, 1.1, NUM_PIXELS)
        self.weights = rng.uniform(0.2, 2, (NUM_EDGES, NUM_PIXELS))
        rays = np.concatenate([self.xy / self.focal, np.ones((1, NUM_PIXELS))])
        world = self.rotation @ (rays * self.depths) + self.centre[:, None]
        world = world + rng.normal(size=(NUM_EDGES, 3, NUM_PIXELS)) * noise
        local = np.swapaxes(self.edge_rotations, 1, 2) @ (world - self.edge_centres[:, :, None])
        self.points = local * np.exp(-self.log_scales)[:, None, None]

    def state(self, camera: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, ...]:
        """Rays, rotation, placed points and shifts after a step of the camera (7,) and of the edges (l, 7)."""
        focal = self.focal * np.exp(camera[6])
        rays = np.concatenate([self.xy / focal, np.ones((1, NUM_PIXELS))])
        rotation = rotation_exp(camera[:3]) @ self.rotation
        edge_rotations = rotation_exp(edges[:, :3]) @ self.edge_rotations
        points = np.exp(self.log_scales + edges[:, 6])[:, None, None] * (edge_rotations @ self.points)
        shifts = self.edge_centres + edges[:, 3:6] - self.centre - camera[3:6]
        return rays, rotation, points, shifts

    def terms(self, step: np.ndarray, loss: Loss, rounds: int):
        camera, edges = step[:7], step[7:].reshape(NUM_EDGES, 7)
        rays, rotation, points, shifts = self.state(camera, edges)
        return image_terms(rays, rotation, points, shifts, self.weights, self.scales, self.depths, loss, rounds)


def _join(terms) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and reduced Hessian over (camera 7, then 7 per edge)."""
    size = 7 + 7 * NUM_EDGES
    gradient, hessian, rows = np.zeros(size), np.zeros((size, size)), np.zeros((size, NUM_PIXELS))
    rows[CAMERA_FOCAL] = terms.focal
    for edge in range(NUM_EDGES):
        columns = np.r_[0:7, 7 + 7 * edge : 14 + 7 * edge]
        gradient[columns] += terms.gradients[edge]
        hessian[np.ix_(columns, columns)] += terms.hessians[edge]
        rows[columns[7:]] = terms.edges[edge]
        rows[CAMERA_MOVE] -= terms.edges[edge, 3:6]
    return gradient, hessian - rows @ rows.T


@pytest.mark.parametrize("loss", LOSSES, ids=["l1", "cauchy"])
def test_the_gradient_is_that_of_the_cost_at_the_best_depths(loss):
    problem = ImageProblem()
    gradient = _join(problem.terms(np.zeros(28), loss, 120))[0]
    for column in range(28):
        step = np.zeros(28)
        step[column] = 1e-5
        rise = problem.terms(step, loss, 120).cost - problem.terms(-step, loss, 120).cost
        assert gradient[column] == pytest.approx(rise / 2e-5, rel=1e-4, abs=1e-4 * np.abs(gradient).max())


@pytest.mark.parametrize("loss", LOSSES, ids=["l1", "cauchy"])
def test_the_hessian_is_that_of_the_residuals_with_depths_eliminated(loss):
    # Near the solution: the terms that variable projection leaves out are as small as the residuals.
    problem = ImageProblem(noise=1e-6)
    robust = loss.weigh(
        vote(*_rays_points(problem, np.zeros(28))).squares(problem.depths), problem.weights, problem.scales
    )

    def residuals(step: np.ndarray) -> np.ndarray:
        rays, points, shifts = _rays_points(problem, step)
        votes = vote(rays, points, shifts)
        depths = (robust * votes.depths).sum(0) / robust.sum(0)
        return (np.sqrt(robust)[:, None] * (rays * depths - points - shifts[:, :, None])).ravel()

    jacobian = np.stack([(residuals(step) - residuals(-step)) / 2e-6 for step in np.eye(28) * 1e-6], axis=1)
    hessian = _join(problem.terms(np.zeros(28), loss, 1))[1]
    np.testing.assert_allclose(hessian, jacobian.T @ jacobian, atol=2e-6 * np.abs(hessian).max())


def _rays_points(problem: ImageProblem, step: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rays, rotation, points, shifts = problem.state(step[:7], step[7:].reshape(NUM_EDGES, 7))
    return rotation @ rays, points, shifts


def test_columns_do_not_overlap():
    spans = [np.r_[s] for s in (CAMERA_TURN, CAMERA_MOVE, CAMERA_FOCAL, EDGE_TURN, EDGE_MOVE, EDGE_SCALE)]
    assert np.concatenate(spans).tolist() == list(range(14))


@pytest.mark.parametrize("loss", LOSSES, ids=["l1", "cauchy"])
def test_weights_are_the_derivative_of_the_cost(loss):
    squares, ones = np.array([[0.01, 0.04, 0.5]]), np.ones((1, 3))
    scales = np.array([1.0, 2.0, 3.0])
    for k in range(3):
        up, down = squares.copy(), squares.copy()
        up[0, k] += 1e-7
        down[0, k] -= 1e-7
        slope = (loss.cost(up, ones, scales) - loss.cost(down, ones, scales)) / 2e-7
        assert loss.weigh(squares, ones, scales)[0, k] == pytest.approx(2 * slope, rel=1e-5)


def test_depths_follow_the_majority_of_votes():
    rays = np.array([[0.0], [0.0], [1.0]])
    points = np.array([2.0, 2.01, 1.99, 5.0])[:, None, None] * rays
    votes = vote(rays, points, np.zeros((4, 3)))
    np.testing.assert_allclose(votes.depths[:, 0], [2, 2.01, 1.99, 5])
    np.testing.assert_allclose(votes.gaps, 0, atol=1e-12)
    start = np.array([2.5])
    depth, _ = solve_depths(votes, np.ones((4, 1)), start, start, Loss(width=0.03), 30)
    assert depth[0] == pytest.approx(2.0, abs=0.01)


def test_pixels_without_votes_keep_their_depth():
    votes = vote(np.ones((3, 2)), np.ones((1, 3, 2)), np.zeros((1, 3)))
    start = np.array([7.0, 8.0])
    depth, robust = solve_depths(votes, np.array([[0.0, 1.0]]), start, start, Loss(width=0.03), 3)
    assert depth[0] == 7
    assert robust[0, 0] == 0
