"""Matchers of local features: what they find, what they match, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.errors import InputError, PredictorError, WeightsError
from dust3r_sfm.features.features import Features
from dust3r_sfm.features.learned import _MAX_MATCHED
from dust3r_sfm.features.matcher import list_matchers, load_matcher, matcher_facts


def upright(view, xy):
    """Positions in a photograph of the texture, whichever way it is stored."""
    return np.column_stack([view.size[1] - xy[:, 1], xy[:, 0]]) if view.orientation == 6 else xy


def nobody(size):
    return Features(xy=np.zeros((0, 2)), descriptors=np.zeros((0, size), np.float32), scores=np.zeros(0, np.float32))


def test_all_four_are_listed():
    listed = {matcher.name: matcher for matcher in list_matchers()}
    assert set(listed) >= {"sift", "aliked-lightglue", "disk-lightglue", "xfeat-lighterglue"}
    assert listed["sift"].files == () and all(len(listed[name].files) == 2 for name in listed if name != "sift")
    assert all(file.licence and len(file.sha256) == 64 for matcher in listed.values() for file in matcher.files)


def test_an_unknown_matcher_is_said():
    with pytest.raises(PredictorError, match=r"No matcher is called 'aliked'; did you mean aliked-lightglue\?"):
        load_matcher("aliked")


def test_what_is_extracted(learned, random_weights, photograph):
    matcher = load_matcher(learned, random_weights)
    features = matcher.extract(view := photograph())
    assert 0 < len(features.xy) <= matcher.num_keypoints
    assert features.descriptors.shape == (len(features.xy), matcher.descriptor_size)
    assert (features.xy >= 0).all() and (features.xy <= view.size).all()
    assert (np.diff(features.scores) <= 0).all()
    again = load_matcher(learned, random_weights).extract(view)
    np.testing.assert_allclose(again.xy, features.xy, atol=1e-6)


def test_exif_orientation_turns_the_picture_and_the_keypoints_back(learned, random_weights, photograph):
    matcher = load_matcher(learned, random_weights)
    views = photograph("flat.png"), photograph("turned.png", orientation=6)
    assert views[1].size == (320, 480)
    flat, turned = (upright(view, matcher.extract(view).xy) for view in views)
    np.testing.assert_allclose(turned, flat, atol=1e-6)


def test_turned_by_exif_and_smaller_still_matches(installed, photograph):
    matcher = load_matcher(installed)
    views = photograph("flat.png"), photograph("turned.png", size=(360, 240), orientation=6)
    features = [matcher.extract(view) for view in views]
    rows, scores = matcher.match(*features, *views)
    assert len(rows) > 100 and (scores > 0).all() and (scores <= 1).all()
    assert all(len(np.unique(rows[:, side])) == len(rows) for side in (0, 1))
    places = [
        upright(view, each.xy[rows[:, side]]) for side, (view, each) in enumerate(zip(views, features, strict=True))
    ]
    error = np.linalg.norm(places[0] - places[1] * 480 / 360, axis=1)
    assert np.mean(error < 3.0) > 0.9
    assert np.abs(np.median(places[0] - places[1] * 480 / 360, axis=0)).max() < 0.25  # no half pixel anywhere


def test_sift_matches(photograph):
    matcher = load_matcher("sift")
    matcher.check()
    views = photograph("flat.png"), photograph("turned.png", size=(360, 240), orientation=6)
    features = [matcher.extract(view) for view in views]
    rows, _ = matcher.match(*features, *views)
    places = [
        upright(view, each.xy[rows[:, side]]) for side, (view, each) in enumerate(zip(views, features, strict=True))
    ]
    assert len(rows) > 50
    assert np.mean(np.linalg.norm(places[0] - places[1] * 480 / 360, axis=1) < 2.0) > 0.8


@pytest.mark.parametrize("size", [(48, 40), (62, 34)])
def test_photographs_of_a_few_pixels(learned, random_weights, photograph, size):
    matcher = load_matcher(learned, random_weights)
    view = photograph(size=size)
    features = matcher.extract(view)
    assert (features.xy >= 0).all() and (features.xy <= size).all()
    matcher.match(features, features, view, view)


def test_nothing_is_found_outside_the_mask(learned, random_weights, photograph):
    mask = np.zeros((320, 480), bool)
    mask[100:250, 50:300] = True
    found = load_matcher(learned, random_weights).extract(photograph(mask=mask)).xy
    assert len(found) and ((found > [49, 99]) & (found < [301, 251])).all()


def test_a_mask_that_leaves_nothing(learned, random_weights, photograph):
    matcher = load_matcher(learned, random_weights)
    view, other = photograph(mask=np.zeros((320, 480), bool)), photograph("b.png")
    features = matcher.extract(view)
    assert len(features.xy) == 0
    rows, scores = matcher.match(features, matcher.extract(other), view, other)
    assert rows.shape == (0, 2) and scores.shape == (0,)


@pytest.mark.parametrize("name", ["sift", "aliked-lightglue"])
def test_a_blank_wall_and_no_keypoints(name, random_weights, photograph):
    matcher = load_matcher(name, random_weights)
    view = photograph(blank=True)
    features = matcher.extract(view)
    for pair in ((features, features), (nobody(128), features), (nobody(0), nobody(128))):
        rows, scores = matcher.match(*pair, view, view)
        assert len(rows) == len(scores)


def test_very_many_keypoints_are_matched_by_the_strongest(random_weights, photograph, monkeypatch):
    matcher, view = load_matcher("aliked-lightglue", random_weights), photograph()
    rng = np.random.default_rng(0)
    xy, descriptors = rng.uniform(0, (480, 320), (20_000, 2)), rng.standard_normal((20_000, 128)).astype(np.float32)
    many = Features(xy=xy, descriptors=descriptors, scores=rng.uniform(size=20_000).astype(np.float32))
    few = many.of(np.arange(10))
    asked, ask = [], type(matcher)._as_input

    def noting(self, features, view):
        asked.append(features)
        return ask(self, features, view)

    monkeypatch.setattr(type(matcher), "_as_input", noting)
    rows, _ = matcher.match(many, few, view, view)
    assert [len(features.xy) for features in asked] == [_MAX_MATCHED, 10]
    assert asked[0].scores.min() >= np.sort(many.scores)[-_MAX_MATCHED]
    assert (rows[:, 0] < 20_000).all() and (rows[:, 1] < 10).all()


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_features_of_another_extractor_are_refused(random_weights, photograph, kind):
    view = photograph()
    features = Features(xy=np.ones((3, 2)), descriptors=np.ones((3, 32), kind), scores=np.ones(3, np.float32))
    matcher = load_matcher("xfeat-lighterglue", random_weights)
    with pytest.raises(InputError, match=r"a.png have descriptors of 32 .* where xfeat-lighterglue needs 64 × float32"):
        matcher.match(features, features, view, view)
    with pytest.raises(InputError, match=r"a.png have no descriptors where"):
        bare = replace(features, descriptors=np.zeros((3, 0), np.float32))
        matcher.match(bare, bare, view, view)
    with pytest.raises(InputError, match="length 32 where SIFT has 128"):
        load_matcher("sift").match(features, features, view, view)


def test_bytes_are_not_taken_for_learned_descriptors(random_weights, photograph):
    sift = Features(xy=np.ones((3, 2)), descriptors=np.ones((3, 128), np.uint8), scores=np.ones(3, np.float32))
    with pytest.raises(InputError, match="128 × uint8 where disk-lightglue"):
        load_matcher("disk-lightglue", random_weights).match(sift, sift, photograph(), photograph())


def test_what_a_run_records(installed):
    facts = matcher_facts(load_matcher(installed))
    assert facts["name"] == installed and len(facts["sha256"]) == 2


def test_what_a_run_records_of_own_weights(random_weights, tmp_path):
    facts = matcher_facts(load_matcher("aliked-lightglue", random_weights))
    published = {file.name: file.sha256 for file in load_matcher("aliked-lightglue").files}
    assert facts["sha256"].keys() == published.keys() and facts["sha256"] != published
    with pytest.raises(WeightsError, match=r"has no aliked-n16rot.pth; put the weights of ALIKED"):
        load_matcher("aliked-lightglue", tmp_path).check()
