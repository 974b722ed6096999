"""Photographs that a camera took while it turned on the spot."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dust3r_sfm.predictors.classical.evidence import PairEvidence
from dust3r_sfm.predictors.classical.lens import Lens
from dust3r_sfm.predictors.classical.pose import estimate_poses, find_turn
from dust3r_sfm.predictors.classical.sampson import CalibratedMatches
from dust3r_sfm.predictors.classical.turning import turned_besides

TRUE = Lens(size=(512, 384), focal=450.0)
NOISE_NETWORK_PX = 0.3


def seen(degrees: float, step: float, seed: int = 0) -> CalibratedMatches:
    """Matches of a cloud of points between a camera and another one, turned and moved to the side."""
    rng = np.random.default_rng(seed)
    points = rng.uniform((-15, -8, 6), (15, 8, 14), (6000, 3))
    xy = []
    for turn, place in ((0.0, 0.0), (degrees, step)):
        local = (points - [place, 0, 0]) @ Rotation.from_euler("y", turn, degrees=True).as_matrix()
        pixels = local[:, :2] / local[:, 2:] * TRUE.focal + TRUE.centre
        inside = (local[:, 2] > 0) & (pixels > 0).all(1) & (pixels < TRUE.size).all(1)
        xy.append(np.where(inside[:, None], pixels, np.nan) + NOISE_NETWORK_PX * rng.standard_normal(pixels.shape))
    both = np.isfinite(xy[0]).all(1) & np.isfinite(xy[1]).all(1)
    return CalibratedMatches(xy1=xy[0][both], xy2=xy[1][both])


@pytest.mark.parametrize("factor", [0.7, 0.83, 0.96, 1.0, 1.07, 1.21, 1.5])
@pytest.mark.parametrize("degrees", [8.0, 18.0, 28.0])
def test_a_turn_is_no_baseline_whatever_focal_length_is_thought(degrees: float, factor: float) -> None:
    lens = Lens(size=TRUE.size, focal=factor * TRUE.focal)
    matches = seen(degrees, 0.0)
    assert estimate_poses(matches, lens, lens, seed=0) == []
    assert find_turn(matches, lens, lens, seed=0) is not None


def test_a_step_to_the_side_is_one() -> None:
    matches = seen(12.0, 1.0)
    assert find_turn(matches, TRUE, TRUE, seed=0) is None
    assert estimate_poses(matches, TRUE, TRUE, seed=0)[0].usable


def test_a_strip_between_two_turns_is_a_turn() -> None:
    lens = Lens(size=TRUE.size, focal=1.1 * TRUE.focal)
    turn = find_turn(seen(18.0, 0.0), lens, lens, seed=0)
    assert turn is not None
    strip = seen(36.0, 0.0)
    assert turned_besides({(0, 1): turn, (1, 2): turn}, {(0, 2): strip}, [lens] * 3) == {(0, 2)}


def test_small_steps_in_a_row_are_no_turn() -> None:
    """Frames of a slow video: neighbours give no depth, those farther apart do."""
    turn = find_turn(seen(0.0, 0.05), TRUE, TRUE, seed=0)
    assert turn is not None
    far = seen(0.0, 2.0)
    assert turned_besides({(0, 1): turn, (1, 2): turn}, {(0, 2): far}, [TRUE] * 3) == set()


def test_the_reason_is_named() -> None:
    turned = PairEvidence(num_pairs=28, num_posed=0, num_turned=16, num_keypoints=2600)
    assert "one place" in turned.why_nothing()
    blank = PairEvidence(num_pairs=28, num_posed=0, num_turned=0, num_keypoints=40)
    assert "too little texture" in blank.why_nothing()
    apart = PairEvidence(num_pairs=28, num_posed=0, num_turned=0, num_keypoints=2600)
    assert "overlap more" in apart.why_nothing()
