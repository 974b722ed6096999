"""The ratio test, and the two best of brute force."""

import numpy as np
import pytest

from dust3r_sfm.features import two_best
from dust3r_sfm.features.two_best import TwoBest


def of_angles(best: list[float], second: list[float]) -> TwoBest:
    """Pairs of similarities given as angles in degrees."""
    cosines = [np.cos(np.radians(angles)).astype(np.float32) for angles in (best, second)]
    return TwoBest(np.arange(len(best)), *cosines)


def test_a_match_is_similar_and_its_runner_up_clearly_is_not():
    found = of_angles([10.0, 10.0, 50.0, 10.0], [20.0, 12.0, 90.0, 12.6])
    assert found.is_clear(min_similarity=0.8, max_ratio=0.8).tolist() == [True, False, False, True]


def test_without_a_partner_nothing_is_clear():
    nobody = TwoBest(np.array([-1]), np.float32([-1]), np.float32([-1]))
    assert not nobody.is_clear(min_similarity=0.0, max_ratio=1.0).any()


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_two_best_of_all(monkeypatch, block):
    monkeypatch.setattr(two_best, "_BLOCK", block)
    rng = np.random.default_rng(0)
    one, other = (rng.standard_normal((count, 8)).astype(np.float32) for count in (20, 30))
    found = two_best._two_best(one, other)
    for row, similarity in enumerate(one @ other.T):
        order = np.argsort(-similarity)
        assert found.partner[row] == order[0]
        assert found.best[row] == pytest.approx(similarity[order[0]], rel=1e-6)
        assert found.second[row] == pytest.approx(max(similarity[order[1]], -1.0), rel=1e-6)
