import numpy as np
import pytest

from dust3r_sfm.alignment.solve.votes import Loss, Votes, price, solve_depths, weigh

LOSSES = [Loss(width=None), Loss(width=0.05)]


@pytest.mark.parametrize("loss", LOSSES, ids=["l1", "cauchy"])
def test_weights_are_the_derivative_of_the_cost(loss):
    def cost(square: float, scale: float) -> float:
        found = price(square, scale, loss.sharpness)
        return found if loss.width is None else np.log(found) * loss.width**2 / 2

    for square, scale in ((0.01, 1.0), (0.04, 2.0), (0.5, 3.0)):
        slope = (cost(square + 1e-7, scale) - cost(square - 1e-7, scale)) / 2e-7
        assert weigh(square, 1.0, scale, loss.sharpness) == pytest.approx(2 * slope, rel=1e-5)


def votes_of(depths: np.ndarray) -> Votes:
    """Votes that lie on rays of length 1."""
    ones = np.ones(depths.shape[1], np.float32)
    return Votes(depths=depths.astype(np.float32), gaps=np.zeros_like(depths, np.float32), squared_rays=ones)


def test_depths_follow_the_majority_of_votes():
    votes = votes_of(np.array([[2.0], [2.01], [1.99], [5.0]]))
    start = np.array([2.5], np.float32)
    depth, _ = solve_depths(votes, np.ones((4, 1), np.float32), start, start, Loss(width=0.03), 30)
    assert depth[0] == pytest.approx(2.0, abs=0.01)


def test_pixels_without_votes_keep_their_depth():
    votes = votes_of(np.ones((1, 2)))
    start = np.array([7.0, 8.0], np.float32)
    weights = np.array([[0.0, 1.0]], np.float32)
    depth, robust = solve_depths(votes, weights, start, start, Loss(width=0.03), 3)
    assert depth[0] == 7
    assert robust[0, 0] == 0
