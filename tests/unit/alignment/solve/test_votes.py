import numpy as np
import pytest

from dust3r_sfm.alignment.solve.votes import Loss, irls_depths, irls_weight, robust_cost

LOSSES = [Loss(width=None), Loss(width=0.05)]


@pytest.mark.parametrize("loss", LOSSES, ids=["l1", "cauchy"])
def test_weights_are_the_derivative_of_the_cost(loss):
    def cost(square: float, scale: float) -> float:
        found = robust_cost(square, scale, loss.sharpness)
        return found if loss.width is None else np.log(found) * loss.width**2 / 2

    for square, scale in ((0.01, 1.0), (0.04, 2.0), (0.5, 3.0)):
        slope = (cost(square + 1e-7, scale) - cost(square - 1e-7, scale)) / 2e-7
        assert irls_weight(square, 1.0, scale, loss.sharpness) == pytest.approx(2 * slope, rel=1e-5)


def _depths(votes: list[list[float]], weights: np.ndarray, start: np.ndarray, rounds: int) -> tuple:
    """Solve depths from votes that lie on rays of length 1."""
    found = np.array(votes, np.float32)
    sharpness = Loss(width=0.03).sharpness
    return irls_depths(found, np.zeros_like(found), np.ones_like(start), weights, start, start, sharpness, rounds)


def test_depths_follow_the_majority_of_votes():
    votes = [[2.0], [2.01], [1.99], [5.0]]
    depth, _ = _depths(votes, np.ones((4, 1), np.float32), np.array([2.5], np.float32), 30)
    assert depth[0] == pytest.approx(2.0, abs=0.01)


def test_pixels_without_votes_keep_their_depth():
    weights = np.array([[0.0, 1.0]], np.float32)
    depth, robust = _depths([[1.0, 1.0]], weights, np.array([7.0, 8.0], np.float32), 3)
    assert depth[0] == 7
    assert robust[0, 0] == 0
