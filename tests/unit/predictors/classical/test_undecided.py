"""What SIFT decides stays; the rest is asked of the learned matcher, as far as the graph needs it."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from dust3r_sfm.features.features import Features
from dust3r_sfm.features.matched import MatchedFeatures
from dust3r_sfm.features.matcher import RowMatches
from dust3r_sfm.geometry.grid import network_from_raw
from dust3r_sfm.geometry.pinhole import intrinsics, project
from dust3r_sfm.geometry.transforms import apply, rotation_exp
from dust3r_sfm.images.resize import Grid, network_grid
from dust3r_sfm.predictors.classical.sampson import CalibratedMatches
from dust3r_sfm.predictors.classical.undecided import with_learned
from dust3r_sfm.types import Edge, View

NUM_POINTS, SIZE = 200, (1024, 768)
MATRIX = intrinsics(900.0, SIZE)


class TrueMatcher:
    """Knows all keypoints of a scene of points, in the same order in every photograph."""

    name, licence, files, weights = "true", "none", (), None

    def __init__(self, xy: np.ndarray, blind: set[Edge] = frozenset()) -> None:
        self.xy, self.blind = xy, blind
        self.extracted: list[str] = []
        self.matched: list[Edge] = []

    def check(self) -> None: ...

    def extract(self, view: View) -> Features:
        self.extracted.append(view.name)
        xy = self.xy[int(view.name)]
        return Features(xy=xy, descriptors=np.zeros((len(xy), 1), np.float32), scores=np.ones(len(xy), np.float32))

    def match(self, features1: Features, features2: Features, view1: View, view2: View) -> RowMatches:
        edge = int(view1.name), int(view2.name)
        self.matched.append(edge)
        rows = np.zeros((0, 2), np.int64) if edge in self.blind else np.tile(np.arange(NUM_POINTS)[:, None], (1, 2))
        return rows, np.ones(len(rows))


def scene(num_images: int) -> tuple[list[View], np.ndarray]:
    """Views, and the raw pixels of the same points in each (n, k, 2)."""
    rng = np.random.default_rng(0)
    points = rng.uniform((-2, -2, 6), (2, 2, 12), (NUM_POINTS, 3))
    cameras = [
        np.column_stack([rotation_exp(np.array([0, 0.05 * index, 0])), [-0.4 * index, 0.1 * (index % 2), 0]])
        for index in range(num_images)
    ]
    network_size, network_from_image = network_grid(SIZE, 1, Grid(size=512))
    views = [
        View(
            name=str(index),
            path=Path(f"{index}.jpg"),
            size=SIZE,
            orientation=1,
            network_size=network_size,
            network_from_image=network_from_image,
            focal_prior=None,
            camera_group=0,
        )
        for index in range(num_images)
    ]
    return views, np.stack([project(apply(camera, points), MATRIX) for camera in cameras])


def sift(views: list[View], xy: np.ndarray, good: set[Edge]) -> dict[Edge, CalibratedMatches]:
    """True matches of good pairs, chance matches of the others, network pixels."""
    rng = np.random.default_rng(1)
    matches = {}
    for i in range(len(views)):
        for j in range(i + 1, len(views)):
            if (i, j) in good:
                ends = [network_from_raw(views[image].network_from_image, xy[image]) for image in (i, j)]
            else:
                ends = [rng.uniform((0, 0), views[image].network_size, (60, 2)) for image in (i, j)]
            matches[i, j] = CalibratedMatches(xy1=ends[0], xy2=ends[1])
    return matches


def pairs_within(*groups: range) -> set[Edge]:
    return {(i, j) for group in groups for i in group for j in group if i < j}


def test_nothing_is_asked_where_sift_decides_enough() -> None:
    views, xy = scene(7)
    matcher = TrueMatcher(xy)
    good = {(i, j) for i, j in pairs_within(range(7)) if j - i <= 4}
    matches = sift(views, xy, good)
    result = with_learned(matches, MatchedFeatures(matcher, views, None, 1), 0, 1)
    assert not matcher.extracted
    assert all(result[edge] is matches[edge] for edge in matches)


def test_two_groups_are_joined_and_what_was_decided_stays() -> None:
    views, xy = scene(12)
    matcher = TrueMatcher(xy)
    good = pairs_within(range(6), range(6, 12))
    matches = sift(views, xy, good)
    result = with_learned(matches, MatchedFeatures(matcher, views, None, 1), 0, 1)
    assert 1 <= len(matcher.matched) <= 8  # one round of a bridge, of 36 pairs between the groups
    assert all(result[edge] is matches[edge] for edge in good)
    for edge in matcher.matched:
        assert edge not in good
        assert len(result[edge]) >= NUM_POINTS
        i, _ = edge
        np.testing.assert_allclose(
            result[edge].xy1[:NUM_POINTS], network_from_raw(views[i].network_from_image, xy[i]), atol=1e-3
        )


def test_a_lonely_photograph_is_tried_again_where_the_first_pairs_fail() -> None:
    views, xy = scene(9)
    blind = {(i, 8) for i in range(8) if i not in (1, 5)}
    matcher = TrueMatcher(xy, blind)
    result = with_learned(sift(views, xy, pairs_within(range(8))), MatchedFeatures(matcher, views, None, 1), 0, 1)
    assert {(1, 8), (5, 8)} & set(matcher.matched)
    assert any(len(result[i, 8]) >= NUM_POINTS for i in (1, 5))


def test_chance_matches_of_sift_do_not_dilute_learned_ones() -> None:
    views, xy = scene(2)
    matches = sift(views, xy, set())
    result = with_learned(matches, MatchedFeatures(TrueMatcher(xy), views, None, 1), 0, 1)
    assert NUM_POINTS <= len(result[0, 1]) < NUM_POINTS + 15  # 60 by chance, few of them on the lines


@pytest.mark.parametrize("kill_after", [1, 3])
def test_a_killed_run_goes_on_and_equals_an_unbroken_one(tmp_path: Path, kill_after: int) -> None:
    views, xy = scene(4)
    matches = sift(views, xy, set())
    unbroken = with_learned(matches, MatchedFeatures(TrueMatcher(xy), views, tmp_path / "whole", 1), 0, 1)

    class Killed(Exception): ...

    class Failing(TrueMatcher):
        def match(self, features1: Features, features2: Features, view1: View, view2: View) -> RowMatches:
            if len(self.matched) == kill_after:
                raise Killed
            return super().match(features1, features2, view1, view2)

    with pytest.raises(Killed):
        with_learned(matches, MatchedFeatures(Failing(xy), views, tmp_path / "broken", 1), 0, 1)
    again = TrueMatcher(xy)
    result = with_learned(matches, MatchedFeatures(again, views, tmp_path / "broken", 1), 0, 1)
    assert not again.extracted
    assert len(again.matched) < len(matches)
    for edge, points in unbroken.items():
        assert np.array_equal(points.xy1, result[edge].xy1)


def drop_descriptors(folder: Path) -> None:
    with h5py.File(folder / "features.h5", "a") as h5:
        del h5["0"]["descriptors"]


def spoil_type(folder: Path) -> None:
    with h5py.File(folder / "matches.h5", "a") as h5:
        del h5["0/1"]["matches0"]
        h5["0/1"]["matches0"] = "no numbers"


def number_missing_keypoints(folder: Path) -> None:
    with h5py.File(folder / "matches.h5", "a") as h5:
        h5["0/1"]["matches0"][0] = NUM_POINTS


def overwrite(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(b"damaged")


def truncate(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-2000])


@pytest.mark.parametrize(
    "damage",
    [
        drop_descriptors,
        spoil_type,
        number_missing_keypoints,
        *(make(name) for make in (overwrite, truncate) for name in ("features.h5", "matches.h5")),
    ],
)
def test_damaged_files_are_made_again(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    views, xy = scene(2)
    first = MatchedFeatures(TrueMatcher(xy), views, tmp_path, 1).match([(0, 1)])
    damage(tmp_path)
    again = MatchedFeatures(TrueMatcher(xy), views, tmp_path, 1)
    assert again.known() == []
    assert np.array_equal(first[0, 1][0], again.match([(0, 1)])[0, 1][0])
    assert MatchedFeatures(TrueMatcher(xy), views, tmp_path, 1).known() == [(0, 1)]


def test_files_of_another_matcher_are_not_taken_over(tmp_path: Path) -> None:
    class Other(TrueMatcher):
        name = "other"

    views, xy = scene(2)
    MatchedFeatures(TrueMatcher(xy), views, tmp_path, 1).match([(0, 1)])
    assert MatchedFeatures(TrueMatcher(xy), views, None, 1, known_in=[tmp_path]).known() == [(0, 1)]
    assert MatchedFeatures(Other(xy), views, None, 1, known_in=[tmp_path]).known() == []
    other = Other(xy)
    MatchedFeatures(other, views, tmp_path, 1).match([(0, 1)])
    assert other.matched == [(0, 1)]


def test_folders_of_others_are_only_read(tmp_path: Path) -> None:
    views, xy = scene(3)
    MatchedFeatures(TrueMatcher(xy), views, tmp_path, 1).match([(0, 1)])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    MatchedFeatures(TrueMatcher(xy), views, None, 1, known_in=[tmp_path, tmp_path / "none"]).match([(0, 1), (1, 2)])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
