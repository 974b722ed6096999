"""Depth errors of maps whose errors are known by construction."""

import numpy as np
import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.evaluation.depth import depth_in_image, evaluate_depth, mean_errors
from dust3r_sfm.images.resize import Grid, network_grid


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).uniform(1, 10, (60, 80)).astype(np.float32)


def test_a_perfect_map_of_another_scale(truth: np.ndarray) -> None:
    errors = evaluate_depth(truth / 4, truth)
    assert errors.abs_rel < 1e-6 and errors.rmse < 1e-5 and errors.scale == pytest.approx(4)
    assert errors.delta1 == errors.delta3 == errors.inliers == errors.density == 1
    assert errors.num_pixels == truth.size


def test_a_given_scale_is_kept(truth: np.ndarray) -> None:
    errors = evaluate_depth(truth * 1.1, truth, scale="given")
    assert errors.scale == 1 and errors.abs_rel == pytest.approx(0.1, rel=1e-4)
    assert errors.rmse == pytest.approx(0.1 * np.sqrt((truth.astype(float) ** 2).mean()), rel=1e-4)
    assert (errors.inliers, errors.delta1) == (0, 1)


@pytest.mark.parametrize("up", [True, False])
def test_ratios_count_in_both_directions(up: bool) -> None:
    """Of 100 pixels 40 are exact, and 20 each are off by the factors 1.02, 1.3 and 1.6."""
    truth = np.full((10, 10), 2.0)
    factors = np.repeat([1.0, 1.02, 1.3, 1.6], [40, 20, 20, 20]).reshape(10, 10)
    errors = evaluate_depth(truth * (factors if up else 1 / factors), truth, scale="given")
    assert errors.inliers == pytest.approx(0.6) and errors.delta1 == pytest.approx(0.6)
    assert errors.delta2 == pytest.approx(0.8) and errors.delta3 == pytest.approx(1.0)
    assert errors.abs_rel == pytest.approx((np.abs((factors if up else 1 / factors) - 1)).mean())


def test_outliers_do_not_move_the_median(truth: np.ndarray) -> None:
    wrong = truth.copy()
    wrong[:6] *= 100
    errors = evaluate_depth(wrong, truth)
    assert errors.delta1 == pytest.approx(0.9, abs=0.05)


def test_unknown_and_masked_pixels_do_not_count(truth: np.ndarray) -> None:
    depth, holes = truth.copy(), truth.copy()
    depth[:15] = 0
    depth[15:30] = np.nan
    holes[:, :40] = 0
    errors = evaluate_depth(depth, holes)
    assert errors.abs_rel < 1e-6 and errors.num_pixels == 30 * 40 and errors.density == pytest.approx(0.5)
    depth[:, 60:] *= 7
    valid = np.zeros(truth.shape, bool)
    valid[:, :60] = True
    assert evaluate_depth(depth, holes, valid).abs_rel < 1e-6
    assert evaluate_depth(depth, holes).abs_rel > 0.5


def test_what_cannot_be_compared_is_a_sentence(truth: np.ndarray) -> None:
    with pytest.raises(InputError, match="80×59 pixels and the truth 80×60"):
        evaluate_depth(truth[1:], truth)
    with pytest.raises(InputError, match="No pixel"):
        evaluate_depth(np.zeros_like(truth), truth)
    with pytest.raises(InputError, match="no depth map"):
        mean_errors([])


def test_the_mean_weighs_maps_equally(truth: np.ndarray) -> None:
    one, two = (evaluate_depth(truth[:rows] * 1.2, truth[:rows], scale="given") for rows in (10, 60))
    exact = evaluate_depth(truth, truth)
    mean = mean_errors([one, two, exact])
    assert mean.abs_rel == pytest.approx(2 * 0.2 / 3, rel=1e-4) and mean.num_pixels == 130 * 80


def test_it_prints_a_table(truth: np.ndarray) -> None:
    lines = str(evaluate_depth(truth * 1.02, truth, scale="given")).splitlines()
    assert lines[0].split() == ["AbsRel_%", "2"] and lines[-1].split() == ["pixels", "4800"]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_map_goes_back_to_the_pixels_of_the_file(orientation: int) -> None:
    """The depth of a network pixel is a code of its position; the file's pixels get the one they are mapped to."""
    size = (250, 160)
    network_size, network_from_image = network_grid(size, orientation, Grid(size=64, multiple_of=16))
    columns, rows = np.meshgrid(np.arange(network_size[0]), np.arange(network_size[1]))
    code = (1 + columns + 100 * rows).astype(np.float32)
    image = depth_in_image(code, network_from_image, size)
    assert image.shape == (160, 250)
    for x, y in ((125, 80), (30, 40), (200, 120)):
        column, row = np.floor(network_from_image[:2] @ [x + 0.5, y + 0.5, 1.0]).astype(int)
        assert image[y, x] == code[row, column]
    # Sides are cropped to multiples of 16: what is cut off is unknown.
    assert 0 < (image == 0).mean() < 0.3 and len(np.unique(image)) == code.size + 1
