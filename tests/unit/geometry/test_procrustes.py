import os
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.geometry.procrustes import rotation_and_scale, similarity
from dust3r_sfm.geometry.transforms import apply, rotation_exp
from dust3r_sfm.system.compiled import compiled

PARITY = Path(os.environ.get("DUST3R_SFM_PARITY", "../shared/reference/parity"))


def _truth(rng: np.random.Generator, scale: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = scale * rotation_exp(rng.normal(size=3))
    matrix[:3, 3] = rng.normal(size=3)
    return matrix


@pytest.mark.parametrize("flat", [False, True])
def test_exact_correspondences_give_the_exact_similarity(flat):
    rng = np.random.default_rng(0)
    truth, source = _truth(rng, 3.0), rng.normal(size=(50, 3))
    if flat:
        source[:, 2] = 0.3
    np.testing.assert_allclose(similarity(source, apply(truth, source)), truth, atol=1e-12)


def test_the_fit_is_the_minimum_of_the_weighted_squares():
    rng = np.random.default_rng(1)
    source, weights = rng.normal(size=(40, 3)), rng.uniform(0.1, 2, 40)
    target = apply(_truth(rng, 0.7), source) + rng.normal(size=(40, 3)) * 0.2

    def cost(fit: np.ndarray) -> float:
        return float((weights * ((apply(fit, source) - target) ** 2).sum(1)).sum())

    best = similarity(source, target, weights)
    for _ in range(50):
        step = np.eye(4)
        step[:3, :3] = rotation_exp(rng.normal(size=3) * 1e-3) * np.exp(rng.normal() * 1e-3)
        step[:3, 3] = rng.normal(size=3) * 1e-3
        assert cost(step @ best) > cost(best)


def test_rigid_fit_keeps_the_scale_and_mirrors_are_never_used():
    rng = np.random.default_rng(2)
    source = rng.normal(size=(30, 3))
    fit = similarity(source, 2 * source @ np.diag([1, 1, -1.0]), scale=False)
    np.testing.assert_allclose(fit[:3, :3] @ fit[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(fit[:3, :3]) > 0


def test_unusable_rows_do_not_count_and_degenerate_input_gives_finite_transforms():
    rng = np.random.default_rng(3)
    truth, source = _truth(rng, 1.5), rng.normal(size=(20, 3))
    target, weights = apply(truth, source), np.ones(20)
    source[0], target[1, 2], weights[2], weights[3] = np.nan, np.inf, -1.0, 0.0
    target[3] += 100
    np.testing.assert_allclose(similarity(source, target, weights), truth, atol=1e-12)
    np.testing.assert_array_equal(similarity(source, target, np.zeros(20)), np.eye(4))
    here = similarity(np.zeros((4, 3)), np.ones((4, 3)))
    np.testing.assert_array_equal(here[:3, 3], 1)
    assert np.isfinite(here).all()


def test_batches_equal_single_fits():
    rng = np.random.default_rng(4)
    source, target, weights = rng.normal(size=(6, 9, 3)), rng.normal(size=(6, 9, 3)), rng.uniform(size=(6, 9))
    batch = similarity(source, target, weights)
    for k in range(6):
        np.testing.assert_allclose(batch[k], similarity(source[k], target[k], weights[k]), atol=1e-12)


@pytest.mark.data
def test_numbers_of_the_published_implementation():
    if not PARITY.is_dir():
        pytest.skip("no parity fixtures")
    given, wanted = np.load(PARITY / "geometry_inputs.npz"), np.load(PARITY / "geometry_expected.npz")
    edge = given["edges"].tolist().index([2, 1])
    target = wanted["procrustes.target"].reshape(-1, 3)
    fit = similarity(given["pred_i"][edge].reshape(-1, 3), target, given["conf_i"][edge].ravel())
    np.testing.assert_allclose(fit[:3, :3], wanted["procrustes.s"] * wanted["procrustes.R"], atol=1e-5)
    np.testing.assert_allclose(fit[:3, 3], wanted["procrustes.T"], atol=1e-5)


def test_the_compiled_solution_is_the_plain_one():
    solve, rng = compiled(rotation_and_scale), np.random.default_rng(5)
    for spread in (2.0, 0.0):
        products = rng.normal(size=(3, 3))
        rotation, scale = rotation_and_scale(products, spread)
        compiled_rotation, compiled_scale = solve(products, spread)
        np.testing.assert_allclose(compiled_rotation, rotation, atol=1e-14)
        assert compiled_scale == pytest.approx(scale, rel=1e-14)
