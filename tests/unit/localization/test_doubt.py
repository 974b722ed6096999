"""Queries that SIFT leaves in doubt are asked of learned features: when, at which size, and what is kept."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.features.features import Features
from dust3r_sfm.localization.correspond import KeypointMatcher
from dust3r_sfm.localization.features import FeaturePairs
from dust3r_sfm.localization.localize import localize_queries
from dust3r_sfm.localization.open_map import make_map
from dust3r_sfm.localization.queries import Query
from dust3r_sfm.options import PredictOptions
from dust3r_sfm.predictors.predictor import load_predictor
from dust3r_sfm.types import Matches, View


class Nothing:
    """A matcher that finds nothing."""

    def match(self, queries: Sequence[View], pairs: Sequence[tuple[int, int]]) -> list[Matches]:
        none = np.zeros((0, 2))
        return [Matches(image1=i, image2=j, xy1=none, xy2=none, confidence=np.zeros(0)) for i, j in pairs]


class BySift(FeaturePairs):
    """Matches by SIFT, and counts the images of the map."""

    def __init__(self, reference, store) -> None:
        super().__init__(reference, Counting(), None)
        self._sift, self.num_asked = KeypointMatcher(reference, store), 0

    def match(self, queries: Sequence[View], pairs: Sequence[tuple[int, int]]) -> list[Matches]:
        self.num_asked += len(pairs)
        return self._sift.match(queries, pairs)


class Counting:
    """Local features of a matcher that says what it was asked."""

    name, licence, files, weights = "counting", "none", (), None

    def __init__(self) -> None:
        self.extracted: list[tuple[str, int | None]] = []

    def check(self) -> None:
        pass

    def extract(self, view: View, long_side: int | None = None) -> Features:
        self.extracted.append((view.name, long_side))
        xy = np.array([[1.0, 2.0], [3.0, 4.0]])
        return Features(xy=xy, descriptors=np.ones((2, 4), np.float32), scores=np.ones(2, np.float32))

    def match(self, features1: Features, features2: Features, view1: View, view2: View):
        return np.array([[0, 1]]), np.array([0.5])


@pytest.fixture(scope="module")
def opened(courtyard):
    predict = PredictOptions(num_workers=1, matcher="sift")
    made = make_map(courtyard.reference, courtyard.lift, load_predictor(predict, 0), predict=predict)
    assert made.doubt is None
    return made


def test_what_sift_is_sure_of_is_not_asked_again(opened, courtyard):
    matcher = Counting()
    asking = replace(opened, doubt=FeaturePairs(courtyard.reference, matcher, None))
    (found,) = localize_queries(asking, [Query(name="q", view=courtyard.query, camera=courtyard.camera)])
    assert found.confidence > 0.9 and matcher.extracted == []


def test_what_sift_loses_is_found_by_the_other_matcher(opened, courtyard):
    queries = [Query(name="q", view=courtyard.query, camera=courtyard.camera)]
    lost = replace(opened, matcher=Nothing())
    assert localize_queries(lost, queries)[0].cam_from_world is None
    other = BySift(courtyard.reference, opened.store)
    (found,) = localize_queries(replace(lost, doubt=other), queries)
    assert other.num_asked == len(courtyard.reference.views)
    (expected,) = localize_queries(opened, queries)
    np.testing.assert_allclose(found.cam_from_world, expected.cam_from_world, atol=1e-6)
    assert found.confidence == expected.confidence


def test_a_pose_of_little_confidence_does_not_replace_a_better_one(opened, courtyard):
    asking = replace(opened, doubt=FeaturePairs(courtyard.reference, Counting(), None))
    shadow = replace(courtyard.query, path=courtyard.query.path)
    before = localize_queries(opened, [Query(name="q", view=shadow)])[0]
    after = localize_queries(asking, [Query(name="q", view=shadow)])[0]
    assert after.confidence == before.confidence


def test_features_of_the_map_are_kept(courtyard, tmp_path: Path):
    first, second = Counting(), Counting()
    pairs = [(0, 0), (0, 1), (0, 0)]
    found = FeaturePairs(courtyard.reference, first, tmp_path).match([courtyard.query], pairs)
    again = FeaturePairs(courtyard.reference, second, tmp_path).match([courtyard.query], pairs)
    names = courtyard.reference.names
    assert [name for name, _ in first.extracted] == [courtyard.query.name, names[0], names[1]]
    assert [name for name, _ in second.extracted] == [courtyard.query.name]
    for one, other in zip(found, again, strict=True):
        assert (one.image1, one.image2) == (other.image1, other.image2)
        np.testing.assert_array_equal(one.xy1, [[1.0, 2.0]])
        np.testing.assert_array_equal(other.xy2, [[3.0, 4.0]])


@pytest.mark.parametrize(("size", "expected"), [((160, 120), 320), ((512, 384), 640), ((1600, 1200), None)])
def test_small_queries_are_compared_with_small_photographs(courtyard, tmp_path, size, expected):
    matcher = Counting()
    pairs = FeaturePairs(courtyard.reference, matcher, tmp_path)
    pairs.match([replace(courtyard.query, size=size)], [(0, 0)])
    assert [side for _, side in matcher.extracted] == [expected, expected]
    pairs.match([replace(courtyard.query, size=(1600, 1200), path=Path("other.png"))], [(0, 0)])
    assert matcher.extracted[-1] == (courtyard.reference.names[0], None) or expected is None
