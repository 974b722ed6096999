"""Learned matches of two photographs: verified, in either order, and those that are known."""

from pathlib import Path

import numpy as np

from dust3r_sfm.features.features import Features
from dust3r_sfm.features.matched import MatchedFeatures
from dust3r_sfm.features.matcher import RowMatches
from dust3r_sfm.geometry.pinhole import intrinsics, project
from dust3r_sfm.geometry.transforms import apply
from dust3r_sfm.registration.learned import LearnedMatcher
from dust3r_sfm.types import View

SIZE = (1024, 768)
NUM_RIGHT, NUM_WRONG = 120, 60


class Pair:
    """A matcher whose photographs 0 and 1 share points, with some wrong matches; photograph 2 shows something else."""

    name, licence, files, weights = "pair", "none", (), None

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        points = rng.uniform((-2, -2, 6), (2, 2, 12), (NUM_RIGHT, 3))
        self.xy = [
            np.concatenate([project(apply(np.column_stack([np.eye(3), move]), points), intrinsics(900.0, SIZE)), wrong])
            for move, wrong in ((np.array([x, 0.1 * x, 0.0]), rng.uniform(0, 700, (NUM_WRONG, 2))) for x in (0.0, -1.0))
        ]
        self.xy.append(rng.uniform(0, 700, (NUM_RIGHT + NUM_WRONG, 2)))
        looks = rng.normal(0, 1, (2, NUM_RIGHT + NUM_WRONG, 16)).astype(np.float32)
        self.looks = [looks[0], looks[0], looks[1]]

    def check(self) -> None: ...

    def extract(self, view: View) -> Features:
        index = int(view.name)
        scores = np.ones(len(self.xy[index]), np.float32)
        return Features(xy=self.xy[index], descriptors=self.looks[index], scores=scores)

    def match(self, features1: Features, features2: Features, view1: View, view2: View) -> RowMatches:
        rows = np.tile(np.arange(NUM_RIGHT + NUM_WRONG)[:, None], (1, 2))
        return (rows, np.ones(len(rows))) if "2" not in (view1.name, view2.name) else (rows[:5], np.ones(5))


def matcher() -> LearnedMatcher:
    views = [
        View(
            name=str(index),
            path=Path(f"{index}.jpg"),
            size=SIZE,
            orientation=1,
            network_size=SIZE,
            network_from_image=np.eye(3),
            focal_prior=None,
            camera_group=0,
        )
        for index in range(3)
    ]
    return LearnedMatcher(MatchedFeatures(Pair(), views, None, 1))


def test_what_no_epipolar_geometry_explains_is_left_out() -> None:
    found = matcher()(0, 1)
    right = np.isin(found.xy1, Pair().xy[0][:NUM_RIGHT]).all(axis=1)
    assert right.sum() == NUM_RIGHT
    assert len(right) < NUM_RIGHT + NUM_WRONG / 4
    assert len(matcher()(0, 2).xy1) == 0


def test_the_order_of_the_images_turns_the_matches() -> None:
    match = matcher()
    there, back = match(0, 1), match(1, 0)
    assert (back.image1, back.image2) == (1, 0)
    assert np.array_equal(there.xy1, back.xy2)
    assert np.array_equal(there.xy2, back.xy1)


def test_the_known_pairs_are_those_that_were_asked_and_agree() -> None:
    match = matcher()
    match(0, 1), match(0, 2)
    assert [(pair.image1, pair.image2) for pair in match.known()] == [(0, 1)]


def test_a_photograph_is_most_like_the_one_that_shows_the_same() -> None:
    likeness = matcher().likeness(0, [2, 1])
    assert likeness[1] == NUM_RIGHT + NUM_WRONG
    assert likeness[0] < likeness[1] / 2
