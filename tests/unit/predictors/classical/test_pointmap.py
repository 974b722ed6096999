"""Where the flow finds nothing, matches speak for the pixels around them."""

import numpy as np

from dust3r_sfm.predictors.classical.pointmap import _with_seeds


def test_pixels_around_a_match_take_its_depth_and_measured_ones_keep_theirs() -> None:
    inverse, score = np.full((60, 80), 0.5, np.float32), np.zeros((60, 80), np.float32)
    score[:, :40] = 0.9
    found, trust = _with_seeds(inverse, score, np.array([[38.5, 30.5], [79.9, 0.1]]), np.array([0.25, 0.125]))
    assert (found[:, :40] == 0.5).all()
    assert (trust[:, :40] == np.float32(0.9)).all()
    assert (found[26:35, 40:43] == 0.25).all()  # four pixels beside the match
    assert (found[:5, 75:] == 0.125).all()  # cut off at the border
    assert (trust[found != 0.5] < 0.9).all()
    assert (trust[found != 0.5] > 0).all()
    assert (found != 0.5).sum() == 9 * 3 + 5 * 5
    assert (inverse == 0.5).all()
    assert score[30, 41] == 0
