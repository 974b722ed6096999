import os
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.geometry.nearest import mutual_nearest

PARITY = Path(os.environ.get("DUST3R_SFM_PARITY", "../shared/reference/parity"))


def _clouds(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    points1 = rng.normal(size=(400, 3))
    points2 = np.concatenate(
        [points1[rng.permutation(400)[:250]] + rng.normal(size=(250, 3)) * 0.1, rng.normal(size=(200, 3))]
    )
    return points1, points2


def _brute_force(points1: np.ndarray, points2: np.ndarray) -> set[tuple[int, int]]:
    distance = np.linalg.norm(points1[:, None] - points2[None], axis=-1)
    distance = np.where(np.isnan(distance), np.inf, distance)
    forward, backward = distance.argmin(1), distance.argmin(0)
    return {
        (i, int(forward[i]))
        for i in range(len(points1))
        if backward[forward[i]] == i and np.isfinite(distance[i]).any()
    }


def _pairs(found: tuple[np.ndarray, np.ndarray]) -> set[tuple[int, int]]:
    return set(zip(found[0].tolist(), found[1].tolist(), strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_all_mutual_pairs_are_those_of_brute_force(seed):
    points1, points2 = _clouds(seed)
    points1[5], points2[9, 1] = np.nan, np.inf
    found = mutual_nearest(points1, points2)
    assert (np.diff(found[0]) > 0).all()
    assert _pairs(found) == _brute_force(points1, points2)
    swapped = mutual_nearest(points2, points1)
    assert {(i, j) for j, i in _pairs(swapped)} == _pairs(found)


def test_queries_give_exactly_their_part_of_the_full_answer():
    points1, points2 = _clouds(7)
    points1[3] = np.nan
    full = _pairs(mutual_nearest(points1, points2))
    queries1, queries2 = np.arange(0, 400, 5), np.arange(2, 450, 9)
    assert _pairs(mutual_nearest(points1, points2, queries1)) == {p for p in full if p[0] % 5 == 0}
    assert _pairs(mutual_nearest(points1, points2, None, queries2)) == {p for p in full if p[1] % 9 == 2}
    both = mutual_nearest(points1, points2, queries1, queries2)
    assert _pairs(both) == {p for p in full if p[0] % 5 == 0 or p[1] % 9 == 2}
    assert len(both[0]) == len(_pairs(both))


def test_single_precision_clouds_give_the_exact_pairs_also_where_distances_nearly_tie():
    rng = np.random.default_rng(3)
    # Points near a lattice: many have several neighbours at almost the same distance.
    lattice = np.stack(np.meshgrid(*[np.arange(12.0)] * 3), -1).reshape(-1, 3)
    points1 = (lattice + 1e-7 * rng.normal(size=lattice.shape)).astype(np.float32)
    points2 = (lattice[rng.permutation(1728)[:1500]] + 0.5 + 1e-7 * rng.normal(size=(1500, 3))).astype(np.float32)
    found = _pairs(mutual_nearest(points1, points2))
    assert found
    distance = np.linalg.norm(points1.astype(np.float64)[:, None] - points2.astype(np.float64)[None], axis=-1)
    for i, j in found:
        assert distance[i, j] == distance[i].min() == distance[:, j].min()
    exact = points1.astype(np.float64) + 1e-3 * rng.normal(size=points1.shape)
    single = exact.astype(np.float32)
    assert _pairs(mutual_nearest(single, points2)) == _pairs(
        mutual_nearest(single.astype(np.float64), points2.astype(np.float64))
    )


def test_nothing_to_match_gives_no_pairs():
    points1, points2 = _clouds(1)
    for a, b in ((points1[:0], points2), (points1, points2[:0]), (np.full((4, 3), np.nan), points2)):
        first, second = mutual_nearest(a, b)
        assert len(first) == len(second) == 0
    assert len(mutual_nearest(points1, points2, np.empty(0, np.int64))[0]) == 0


@pytest.mark.data
def test_numbers_of_the_published_implementation():
    if not PARITY.is_dir():
        pytest.skip("no parity fixtures")
    given, wanted = np.load(PARITY / "geometry_inputs.npz"), np.load(PARITY / "geometry_expected.npz")
    edge = given["edges"].tolist().index([1, 0])
    points1 = given["pred_i"][edge][given["conf_i"][edge] > 2]
    points2 = given["pred_j"][edge][given["conf_j"][edge] > 2]
    index1, index2 = mutual_nearest(points1, points2)
    assert len(index1) == wanted["recip3d.num"]
    reciprocal = np.flatnonzero(wanted["recip3d.reciprocal_in_P2"])
    order = np.argsort(index2)
    np.testing.assert_array_equal(index2[order], reciprocal)
    np.testing.assert_array_equal(index1[order], wanted["recip3d.nn2_in_P1"][reciprocal])
