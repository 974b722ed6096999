"""The two lineages of monocular depth against their formulas written out, closed forms and PyTorch's resize."""

import numpy as np
import pytest
import torch

from dust3r_sfm.errors import InputError
from dust3r_sfm.evaluation.mono_depth import MonoErrors, MonoRule, depth_on_truth, mean_mono, mono_errors
from dust3r_sfm.images.resize import Grid, network_grid

SC_DEPTH = MonoRule(nearest=0.1, farthest=10.0, clamp=True, interpolation="bilinear", weighted=False)
MONST3R = MonoRule(nearest=0.0, farthest=70.0, clamp=False, interpolation="bicubic", weighted=True)


@pytest.fixture
def truth() -> np.ndarray:
    truth = np.random.default_rng(0).uniform(0.05, 12, (40, 60))
    truth[:5] = 0
    return truth


@pytest.mark.parametrize("rule", [SC_DEPTH, MONST3R])
def test_the_formulas_written_out(truth: np.ndarray, rule: MonoRule) -> None:
    depth = truth * np.random.default_rng(1).uniform(0.5, 1.6, truth.shape) + 0.1
    crop = np.zeros(truth.shape, bool)
    crop[2:35, 10:50] = True
    expected_rel, expected_delta, pixels = [], [], []
    for y, x in np.argwhere(crop):
        if rule.nearest < truth[y, x] < rule.farthest:
            pixels.append((depth[y, x], truth[y, x]))
    scale = np.median([true for _, true in pixels]) / np.median([found for found, _ in pixels])
    for found, true in pixels:
        scaled = min(max(found * scale, 0.1), 10.0) if rule is SC_DEPTH else found * scale
        expected_rel.append(abs(scaled - true) / true)
        expected_delta.append(max(scaled / true, true / scaled) < 1.25)
    errors = mono_errors(depth, truth, rule, crop)
    assert errors is not None and errors.num_pixels == len(pixels)
    assert errors.abs_rel == pytest.approx(np.mean(expected_rel), abs=1e-12)
    assert errors.delta1 == np.mean(expected_delta)


def test_another_scale_costs_nothing_and_a_known_factor_its_closed_form(truth: np.ndarray) -> None:
    exact = mono_errors(truth / 7, truth, MONST3R)
    assert exact is not None and exact.abs_rel < 1e-12 and exact.delta1 == 1
    truth = np.full((10, 10), 2.0)
    truth.flat[:40] *= np.repeat([1.1, 1.3], 20)  # the median stays
    errors = mono_errors(np.ones((10, 10)), truth, SC_DEPTH)
    assert errors is not None and errors.delta1 == 0.8
    assert errors.abs_rel == pytest.approx(0.2 * (1 - 1 / 1.1) + 0.2 * (1 - 1 / 1.3))


def test_a_depth_of_no_camera_is_wrong_and_no_truth_is_no_error(truth: np.ndarray) -> None:
    depth = np.where(np.arange(60) < 3, -truth, truth)
    depth[20, 20] = np.nan
    errors = mono_errors(depth, truth, MONST3R)
    assert errors is not None and 0.94 < errors.delta1 < 0.96 and errors.abs_rel > 0.05
    assert mono_errors(depth, np.zeros_like(truth), MONST3R) is None
    assert mono_errors(depth, truth, MONST3R, np.zeros(truth.shape, bool)) is None


def test_images_count_equally_or_by_their_pixels() -> None:
    few, many = MonoErrors(abs_rel=0.4, delta1=0.2, num_pixels=10), MonoErrors(abs_rel=0.1, delta1=0.8, num_pixels=30)
    equal, weighted = (mean_mono([few, many], rule) for rule in (SC_DEPTH, MONST3R))
    assert (equal.abs_rel, equal.delta1) == pytest.approx((0.25, 0.5))
    assert (weighted.abs_rel, weighted.delta1) == pytest.approx((0.175, 0.65)) and weighted.num_pixels == 40
    with pytest.raises(InputError, match="no depth map"):
        mean_mono([], SC_DEPTH)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_without_a_crop_it_is_a_resize(interpolation: str) -> None:
    depth = np.random.default_rng(0).uniform(1, 5, (24, 32)).astype(np.float32)
    size, matrix = network_grid((80, 60), 1, Grid(size=32))
    assert size == (32, 24)
    found = depth_on_truth(depth, matrix, (80, 60), (60, 80), interpolation)
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(depth)[None, None], size=(60, 80), mode=interpolation, align_corners=False
    )
    np.testing.assert_allclose(found, resized[0, 0].numpy(), atol=1e-5)


def test_a_crop_of_the_network_stays_where_it_was() -> None:
    """A ramp of columns: DUSt3R's grid cuts the sides, and the map is not stretched over them."""
    size, matrix = network_grid((200, 100), 1, Grid(size=96, multiple_of=32))
    assert size == (96, 32)
    rows = (np.arange(size[1]) + 0.5)[:, None] - matrix[1, 2]
    depth = np.repeat(rows / matrix[1, 1], size[0], axis=1).astype(np.float32)  # z is the row of the photograph
    found = depth_on_truth(depth, matrix, (200, 100), (100, 200), "bilinear")
    inside = slice(20, 80)
    np.testing.assert_allclose(found[inside], np.repeat((np.arange(100) + 0.5)[inside, None], 200, axis=1), atol=1e-4)
    assert (found[0] == depth[0, 0]).all()
