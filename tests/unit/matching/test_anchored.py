"""Descriptors that are a smooth code of the place on the wall: their matches are known exactly."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dust3r_sfm.geometry import pinhole, transforms
from dust3r_sfm.matching.anchored import anchored_matches
from dust3r_sfm.matching.mutual import mutual_matches
from dust3r_sfm.matching.pair import match_pair
from dust3r_sfm.options import MatchOptions
from dust3r_sfm.types import Matches, PairPrediction

OPTIONS = MatchOptions(match_stride=4)


def described(prediction: PairPrediction, points1: np.ndarray, points2: np.ndarray, noise: float = 0.0) -> Any:
    """Add descriptors to a prediction: a random smooth code of the places on the wall, `points1` and `points2`."""
    rng = np.random.default_rng(0)
    waves, phases, mixed = rng.normal(0, 4, (3, 256)), rng.uniform(0, 6, 256), rng.normal(0, 0.1, (256, 24))
    descriptors = []
    for points in (points1, points2):
        code = np.sin(points @ waves + phases) @ mixed
        code = code + noise * rng.standard_normal(code.shape)
        descriptors.append((code / np.linalg.norm(code, axis=-1, keepdims=True)).astype(np.float32))
    fours = np.full(prediction.confidence1.shape, 4.0, np.float32)
    return replace(
        prediction,
        descriptors1=descriptors[0],
        descriptors2=descriptors[1],
        descriptor_confidence1=fours,
        descriptor_confidence2=fours,
    )


@pytest.fixture
def forward(pair: Any) -> PairPrediction:
    return described(pair.forward, pair.forward.points1, pair.forward.points2)


@pytest.fixture
def backward(pair: Any) -> PairPrediction:
    return described(pair.backward, pair.forward.points2, pair.forward.points1)


def match(pair: Any, forward: PairPrediction, backward: PairPrediction | None = None, **changes: Any) -> Matches:
    return anchored_matches(forward, backward, (pair.view, pair.view), (0, 1), replace(OPTIONS, **changes))


def transferred(pair: Any, xy: np.ndarray) -> np.ndarray:
    """Where camera 2 sees the wall point of each position in image 1, in raw pixels."""
    matrix = np.diag([8.0, 8.0, 1.0]) @ pair.intrinsics
    rays = np.column_stack([(xy - matrix[:2, 2]) / matrix[[0, 1], [0, 1]], np.ones(len(xy))])
    points = rays * (4.0 / (rays @ np.array([0.2, -0.1, 1.0])))[:, None]
    return pinhole.project(transforms.apply(pair.cam2_from_cam1, points), matrix)


def is_anchor(xy: np.ndarray) -> np.ndarray:
    """Positions on the lattice of every 4th network pixel from the 3rd, that is every 32 raw pixels from 20."""
    return (np.mod(xy - 20.0, 32.0) == 0).all(axis=1)


@pytest.mark.parametrize("both", [False, True])
def test_matches_are_right_between_the_pixels(pair: Any, forward: Any, backward: Any, both: bool) -> None:
    matches = match(pair, forward, backward if both else None)
    error = np.linalg.norm(transferred(pair, matches.xy1) - matches.xy2, axis=1) / 8
    # Nothing but the geometry that follows tells apart the strips that only one of the images shows.
    right = error < 2
    assert right.sum() > 350 and right.mean() > 0.9
    # Rounding to whole pixels alone would leave 0.38 on average.
    assert error[right].mean() < 0.1
    np.testing.assert_allclose(matches.confidence, 4.0)


def test_anchors_stay_and_both_images_have_them(pair: Any, forward: Any) -> None:
    matches = match(pair, forward)
    anchor1, anchor2 = is_anchor(matches.xy1), is_anchor(matches.xy2)
    assert (anchor1 | anchor2).all() and anchor1.sum() > 150 and anchor2.sum() > 150


def test_the_reverse_prediction_serves_the_anchors_of_image_2(pair: Any, forward: Any, backward: Any) -> None:
    blank = replace(backward, descriptors2=np.roll(backward.descriptors2, 40, axis=1))
    alone, both = match(pair, forward), match(pair, forward, blank)
    from1 = is_anchor(alone.xy1)
    np.testing.assert_array_equal(both.xy2[is_anchor(both.xy1)], alone.xy2[from1])
    assert not np.array_equal(both.xy1[is_anchor(both.xy2)], alone.xy1[is_anchor(alone.xy2)])


def test_noisy_descriptors_still_match_to_a_pixel(pair: Any) -> None:
    noisy = described(pair.forward, pair.forward.points1, pair.forward.points2, noise=0.1)
    matches = match(pair, noisy)
    error = np.linalg.norm(transferred(pair, matches.xy1) - matches.xy2, axis=1) / 8
    assert len(matches.xy1) > 300 and np.median(error) < 1.0


def test_points_contradict_chance_likeness(pair: Any, forward: Any) -> None:
    unlike = described(pair.forward, pair.forward.points1, pair.forward.points2 + np.array([40.0, 0, 0]))
    matches = match(pair, unlike)
    error = np.linalg.norm(transferred(pair, matches.xy1) - matches.xy2, axis=1) / 8
    assert len(matches.xy1) < 0.4 * len(match(pair, forward).xy1) and error.max() < 45
    far = replace(forward, points2=forward.points2 + np.float32([0.0, 0.0, 4.0]))
    assert len(match(pair, far).xy1) == 0


@pytest.mark.parametrize("side", [1, 2])
def test_masked_pixels_are_not_matched(pair: Any, forward: Any, side: int) -> None:
    confidence = getattr(forward, f"confidence{side}").copy()
    confidence[:, :48] = 1.0
    matches = match(pair, replace(forward, **{f"confidence{side}": confidence}))
    assert len(matches.xy1) > 50
    assert getattr(matches, f"xy{side}")[:, 0].min() > 48 * 8
    nothing = replace(forward, **{f"confidence{side}": np.ones_like(confidence)})
    assert len(match(pair, nothing).xy1) == 0


def test_a_cap_keeps_matches_spread(pair: Any, forward: Any) -> None:
    some = match(pair, forward, max_matches=100)
    assert len(some.xy1) == 100
    assert np.ptp(some.xy1, axis=0).min() > 300


def test_points_fill_in_where_descriptors_say_nothing(pair: Any, forward: Any) -> None:
    """A pair's matches: by descriptors on the right half, by points elsewhere, no keypoint twice."""
    descriptors = forward.descriptors1.copy()
    descriptors[:, :48] = descriptors[0, 0]
    half = replace(forward, descriptors1=descriptors)
    described_only, by_points = match(pair, half), mutual_matches(half, pair.view, pair.view, 0, 1, OPTIONS)
    together = match_pair(half, None, (pair.view, pair.view), (0, 1), OPTIONS)
    num = len(described_only.xy1)
    np.testing.assert_array_equal(together.xy1[:num], described_only.xy1)
    added = together.xy1[num:]
    assert (added[:, 0] < 420).sum() > 50 and len(added) < len(by_points.xy1)
    for xy, anchors in ((together.xy1, is_anchor(together.xy1)), (together.xy2, is_anchor(together.xy2))):
        own, counts = np.unique(xy[anchors], axis=0, return_counts=True)
        assert len(own) and (counts <= 2).all()
    error = np.linalg.norm(transferred(pair, together.xy1) - together.xy2, axis=1) / 8
    assert np.percentile(error, 90) < 0.3
    capped = match_pair(half, None, (pair.view, pair.view), (0, 1), replace(OPTIONS, max_matches=num + 10))
    assert len(capped.xy1) == num + 10


def test_without_descriptors_points_alone_match(pair: Any) -> None:
    alone = match_pair(pair.forward, pair.backward, (pair.view, pair.view), (0, 1), OPTIONS)
    expected = mutual_matches(pair.forward, pair.view, pair.view, 0, 1, OPTIONS)
    np.testing.assert_array_equal(alone.xy1, expected.xy1)
    np.testing.assert_array_equal(alone.xy2, expected.xy2)
