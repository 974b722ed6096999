"""Matches of exact pointmaps are exact; what cannot correspond is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dust3r_sfm.geometry import pinhole, transforms
from dust3r_sfm.matching.mutual import mutual_matches, raw_from_network
from dust3r_sfm.options import MatchOptions
from dust3r_sfm.types import Matches, PairPrediction

OPTIONS = MatchOptions(match_stride=4)


def match(pair: Any, prediction: PairPrediction | None = None, options: MatchOptions = OPTIONS) -> Matches:
    return mutual_matches(prediction or pair.forward, pair.view, pair.view, 0, 1, options)


def transferred(pair: Any, matches: Matches) -> np.ndarray:
    """Where camera 2 sees the wall point of each position in image 1, in raw pixels."""
    matrix = np.diag([8.0, 8.0, 1.0]) @ pair.intrinsics
    rays = np.column_stack([(matches.xy1 - matrix[:2, 2]) / matrix[[0, 1], [0, 1]], np.ones(len(matches.xy1))])
    points = rays * (4.0 / (rays @ np.array([0.2, -0.1, 1.0])))[:, None]
    return pinhole.project(transforms.apply(pair.cam2_from_cam1, points), matrix)


def is_anchor(xy: np.ndarray) -> np.ndarray:
    """Positions on the lattice of every 4th network pixel from the 3rd, that is every 32 raw pixels from 20."""
    return (np.mod(xy - 20.0, 32.0) == 0).all(axis=1)


def test_matches_are_exact_to_a_hundredth_of_a_network_pixel(pair: Any) -> None:
    matches = match(pair)
    assert len(matches.xy1) > 300
    # Two joined anchors may be up to 0.25 network pixels (2 raw pixels) apart on each axis.
    error = np.abs(transferred(pair, matches) - matches.xy2).max(axis=1)
    joined = is_anchor(matches.xy1) & is_anchor(matches.xy2)
    assert error[~joined].max() < 0.08
    assert error[joined].max(initial=0.0) < 2.1


def test_every_match_starts_from_an_anchor(pair: Any) -> None:
    matches = match(pair)
    assert (is_anchor(matches.xy1) | is_anchor(matches.xy2)).all()
    assert is_anchor(matches.xy1).sum() > 100
    assert is_anchor(matches.xy2).sum() > 100


def test_anchors_are_bitwise_the_same_keypoints_in_every_pair(pair: Any) -> None:
    one = match(pair)
    nearer = replace(pair.forward, points2=pair.forward.points2 + np.float32(0.01))
    other = match(pair, nearer)
    shared = {tuple(xy) for xy in one.xy1[is_anchor(one.xy1)]} & {tuple(xy) for xy in other.xy1[is_anchor(other.xy1)]}
    assert len(shared) > 50


def test_raw_positions_do_not_depend_on_their_neighbours_in_the_array(pair: Any) -> None:
    view = replace(pair.view, network_from_image=np.array([[0.0, -0.1307, 63.7], [0.1311, 0.0, 0.3], [0.0, 0.0, 1.0]]))
    xy = np.random.default_rng(0).uniform(0, 64, (1001, 2))
    together = raw_from_network(xy, view)
    alone = np.concatenate([raw_from_network(row[None], view) for row in xy])
    assert np.array_equal(together, alone)
    back = together @ view.network_from_image[:2, :2].T + view.network_from_image[:2, 2]
    assert np.abs(back - xy).max() < 1e-9


def test_a_cap_keeps_matches_spread_over_the_image(pair: Any) -> None:
    everything, some = match(pair), match(pair, options=replace(OPTIONS, max_matches=100))
    assert len(some.xy1) == 100
    rows = {tuple(row) for row in np.hstack([everything.xy1, everything.xy2])}
    assert all(tuple(row) in rows for row in np.hstack([some.xy1, some.xy2]))
    quarter_of = lambda xy: (xy[:, 0] > 384).astype(int) + 2 * (xy[:, 1] > 256)  # noqa: E731
    share = np.bincount(quarter_of(some.xy1), minlength=4) / 100
    expected = np.bincount(quarter_of(everything.xy1), minlength=4) / len(everything.xy1)
    assert np.abs(share - expected).max() < 0.08


@pytest.mark.parametrize("value", [1.0, np.nan])
def test_pixels_without_information_are_never_matched(pair: Any, value: float) -> None:
    confidence = pair.forward.confidence1.copy()
    confidence[:, :48] = value
    matches = match(pair, replace(pair.forward, confidence1=confidence))
    assert len(matches.xy1) > 50
    assert matches.xy1[:, 0].min() > 48 * 8 - 8  # sub-pixel moves reach half a pixel


def test_points_that_are_not_finite_are_never_matched(pair: Any) -> None:
    points = pair.forward.points2.copy()
    points[:32] = np.nan
    matches = match(pair, replace(pair.forward, points2=points))
    assert len(matches.xy1) > 50
    assert np.isfinite(matches.xy2).all()
    assert matches.xy2[:, 1].min() > 31 * 8


def test_the_confidence_percentile_leaves_the_weaker_pixels_out(pair: Any) -> None:
    confidence = pair.forward.confidence1.copy()
    confidence[:, :48] = 2.0
    weak = replace(pair.forward, confidence1=confidence)
    assert match(pair, weak).xy1[:, 0].min() < 300
    assert match(pair, weak, replace(OPTIONS, confidence_percentile=60.0)).xy1[:, 0].min() > 376
    assert match(pair, weak).confidence.min() == pytest.approx(np.sqrt(10.0))


def test_surfaces_that_do_not_meet_give_no_matches(pair: Any) -> None:
    far = replace(pair.forward, points2=pair.forward.points2 + np.float32([0.0, 0.0, 2.0]))
    assert len(match(pair, far).xy1) == 0


def test_an_empty_pair_gives_no_matches(pair: Any) -> None:
    nothing = replace(pair.forward, confidence2=np.ones_like(pair.forward.confidence2))
    matches = match(pair, nothing)
    assert matches.xy1.shape == (0, 2)
    assert (matches.image1, matches.image2) == (0, 1)


def test_sub_pixel_positions_beat_whole_pixels_on_noisy_maps(pair: Any) -> None:
    rng = np.random.default_rng(0)
    noisy = pair.forward.points2 * (1 + 0.0005 * rng.standard_normal((64, 96, 1))).astype(np.float32)
    matches = match(pair, replace(pair.forward, points2=noisy))
    moved = is_anchor(matches.xy1)
    truth = transferred(pair, matches)[moved]
    whole = np.floor(matches.xy2[moved] / 8) * 8 + 4
    assert (
        np.linalg.norm(matches.xy2[moved] - truth, axis=1).mean() < 0.6 * np.linalg.norm(whole - truth, axis=1).mean()
    )
