"""Reciprocal search on descriptors: the reference's recorded indices, and descriptors whose answer is known."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.matching.descriptors import correspondences, nearest, nearest_on, reciprocal, returning
from dust3r_sfm.types import PairPrediction

PARITY = Path(os.environ.get("DUST3R_SFM_REFERENCE", Path(__file__).parents[4] / "shared" / "reference")) / "parity"
HEIGHT, WIDTH = 48, 64
recorded = pytest.mark.skipif(not PARITY.is_dir(), reason=f"no recorded numbers in {PARITY}")


@pytest.fixture(scope="module")
def expected() -> Any:
    return np.load(PARITY / "geometry_expected.npz")


@pytest.fixture(scope="module")
def inputs() -> Any:
    return np.load(PARITY / "geometry_desc_inputs.npz")


def flat(maps: Any, name: str) -> np.ndarray:
    return maps[name].reshape(-1, maps[name].shape[-1])


def grid(stride: int) -> np.ndarray:
    rows, columns = np.mgrid[stride // 2 : HEIGHT : stride, stride // 2 : WIDTH : stride]
    return (rows * WIDTH + columns).ravel()


def xy(index: np.ndarray) -> np.ndarray:
    return np.column_stack([index % WIDTH, index // WIDTH])


def predicted(descriptors1: np.ndarray, descriptors2: np.ndarray, *confidence: np.ndarray) -> PairPrediction:
    ones = np.ones(descriptors1.shape[:2], np.float32)
    points = np.ones((*descriptors1.shape[:2], 3), np.float32)
    confidence1, confidence2 = confidence or (ones, ones)
    return PairPrediction(
        points1=points,
        confidence1=2 * ones,
        points2=points,
        confidence2=2 * ones,
        descriptors1=descriptors1,
        descriptors2=descriptors2,
        descriptor_confidence1=confidence1,
        descriptor_confidence2=confidence2,
    )


@pytest.mark.data
@recorded
def test_nearest_neighbours_are_the_recorded_ones(inputs: Any, expected: Any) -> None:
    one, two = flat(inputs, "desc11"), flat(inputs, "desc21")
    np.testing.assert_array_equal(nearest(one, two), expected["bruteforce.nn_A"])
    np.testing.assert_array_equal(nearest(two, one), expected["bruteforce.nn_B"])


@pytest.mark.data
@recorded
@pytest.mark.parametrize("stride", [4, 8])
def test_settled_pairs_are_the_recorded_ones(inputs: Any, expected: Any, stride: int) -> None:
    index1, index2 = reciprocal(flat(inputs, "desc11"), flat(inputs, "desc21"), grid(stride))
    np.testing.assert_array_equal(xy(index1), expected[f"fastnn.s{stride}.xy1"])
    np.testing.assert_array_equal(xy(index2), expected[f"fastnn.s{stride}.xy2"])


@pytest.mark.data
@recorded
def test_seeds_that_come_back_are_the_recorded_ones(inputs: Any, expected: Any) -> None:
    seeds, neighbours = returning(flat(inputs, "desc11"), flat(inputs, "desc21"), grid(8), WIDTH, 3.0)
    np.testing.assert_array_equal(xy(seeds), expected["fastnn.grid_tol3.xy1"])
    np.testing.assert_array_equal(xy(neighbours), expected["fastnn.grid_tol3.xy2"])


@pytest.mark.data
@recorded
def test_correspondences_of_both_directions_are_the_recorded_ones(inputs: Any, expected: Any) -> None:
    forward = predicted(inputs["desc11"], inputs["desc21"], inputs["qonf11"], inputs["qonf21"])
    backward = predicted(inputs["desc22"], inputs["desc12"], inputs["qonf22"], inputs["qonf12"])
    found = correspondences(forward, backward)
    np.testing.assert_array_equal(xy(found.index1), expected["extract_corres.xy1"])
    np.testing.assert_array_equal(xy(found.index2), expected["extract_corres.xy2"])
    np.testing.assert_allclose(found.confidence, expected["extract_corres.conf"], rtol=1e-6)


def unit(num: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((num, 24)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_the_nearest_is_the_largest_dot_product_whatever_the_blocks() -> None:
    queries, targets = unit(700), unit(5000, seed=1)
    np.testing.assert_array_equal(nearest(queries, targets), (queries @ targets.T).argmax(axis=1))
    assert nearest(queries[:0], targets).shape == (0,)


def test_the_search_of_a_gpu_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its PyTorch runs here on the CPU, under another name."""
    import torch

    from dust3r_sfm.system import device

    class Gpu(str):
        type = "cuda"

    def full(scores, axis):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(device, "choose_device", lambda name: Gpu("cpu"))
    search = nearest_on.__wrapped__("auto")
    queries, targets = unit(700), unit(5000, seed=1)
    assert search is not nearest
    np.testing.assert_array_equal(search(queries, targets), nearest(queries, targets))
    monkeypatch.setattr(torch.Tensor, "argmax", full)
    np.testing.assert_array_equal(search(queries, targets), nearest(queries, targets))
    monkeypatch.undo()
    assert nearest_on.__wrapped__("cpu") is nearest
    with pytest.raises(PredictorError, match="no device"):
        nearest_on.__wrapped__("warp")


def test_of_equal_targets_the_first_wins() -> None:
    targets = np.tile(unit(3), (2000, 1))
    np.testing.assert_array_equal(nearest(targets[:3], targets), [0, 1, 2])


def test_a_shuffled_copy_is_found_again() -> None:
    one = unit(3000)
    shuffle = np.random.default_rng(2).permutation(3000)
    index1, index2 = reciprocal(one, one[shuffle], np.arange(0, 3000, 7))
    np.testing.assert_array_equal(index1, np.arange(0, 3000, 7))
    np.testing.assert_array_equal(shuffle[index2], index1)


def test_what_settles_is_mutual_and_what_does_not_is_dropped() -> None:
    one, two = unit(2000), unit(2000, seed=1)
    seeds = np.arange(0, 2000, 5)
    index1, index2 = reciprocal(one, two, seeds)
    assert 0 < len(index1) <= len(seeds) and (np.diff(index1) > 0).all()
    np.testing.assert_array_equal(nearest(one[index1], two), index2)
    np.testing.assert_array_equal(nearest(two[index2], one), index1)
    few = reciprocal(one, two, seeds, max_rounds=1)
    assert set(few[0].tolist()) < set(index1.tolist())


def test_one_direction_is_enough_and_the_other_adds() -> None:
    one, two = (unit(HEIGHT * WIDTH, seed).reshape(HEIGHT, WIDTH, 24) for seed in (0, 1))
    forward, backward = predicted(one, two), predicted(two[::-1].copy(), one[::-1].copy())
    alone, both = correspondences(forward), correspondences(forward, backward)
    rows = {tuple(row) for row in np.column_stack([both.index1, both.index2]).tolist()}
    assert rows > {tuple(row) for row in np.column_stack([alone.index1, alone.index2]).tolist()}
    assert len(rows) == len(both.index1)


def test_pixels_that_know_nothing_take_no_part() -> None:
    one = unit(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH, 24)
    prediction = predicted(one, one)
    confidence = prediction.confidence1.copy()
    confidence[:, :32] = 1.0
    found = correspondences(replace(prediction, confidence1=confidence))
    assert len(found.index1) and (found.index1 % WIDTH >= 32).all()
    nothing = correspondences(replace(prediction, confidence1=np.ones_like(confidence)))
    assert nothing.index1.shape == (0,) and nothing.confidence.dtype == np.float64
