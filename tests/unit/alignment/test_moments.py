import numpy as np
import pytest

from dust3r_sfm.alignment.moments import Loss, solve_depths, vote

LOSSES = [Loss(width=None), Loss(width=0.05)]


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
