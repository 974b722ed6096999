"""What a refused run is told: words, never check sums."""

from dataclasses import replace

import pytest

from dust3r_sfm.runs.difference import difference
from dust3r_sfm.runs.record import Photographs


def photographs(**bytes_of):
    return Photographs(
        root="photos",
        used=[f"{name}.jpg" for name in bytes_of],
        dropped={},
        bytes={f"{name}.jpg": size for name, size in bytes_of.items()},
    )


IMAGES = {"photographs": "0123abc", "camera_sharing": "auto", "masks": None}


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"camera_sharing": "single"}, "camera sharing was auto, is now single"),
        ({"camera_sharing": "single", "known": "77ef"}, "camera sharing was auto, is now single"),
        ({"masks": "77ef"}, "masks was not given, is now given"),
        ({"known": "77ef"}, "of other known cameras or poses"),
        ({"model": "77ef"}, "of another model"),
    ],
)
def test_inputs_in_words(now, words):
    assert difference(IMAGES, IMAGES | now, None, None) == words


def test_switches_are_on_and_off():
    assert difference({"ray": True, "n": 1}, {"ray": False, "n": 1}, None, None) == "ray was on, is now off"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, "of other photographs: b.jpg is new"),
        ({"a": 1, "b": 2}, {"a": 1}, "of other photographs: b.jpg is gone"),
        ({"a": 1}, {"a": 9}, "of other photographs: a.jpg has changed"),
        ({"a": 1}, {"b": 1, "c": 1}, "of other photographs: b.jpg and c.jpg are new, a.jpg is gone"),
        ({}, dict.fromkeys("abcde", 1), "of other photographs: a.jpg, b.jpg, c.jpg and 2 more are new"),
    ],
)
def test_photographs_are_named(old, new, words):
    now = IMAGES | {"photographs": "another sum"}
    assert difference(IMAGES, now, photographs(**old), photographs(**new)) == words


def test_photographs_that_the_record_does_not_know():
    now = IMAGES | {"photographs": "another sum"}
    assert difference(IMAGES, now, None, photographs(a=1)) == "of other photographs"
    old = Photographs(root="photos", used=["a.jpg"], dropped={})  # version 0.1.0 kept no sizes
    assert difference(IMAGES, now, old, photographs(a=1)) == "of other photographs"


def test_weights_and_versions():
    before = {"weights": "w.pth", "weights_files": [["w.pth", 7, 1]]}
    now = before | {"weights_files": [["w.pth", 7, 2]]}
    assert difference(before, now, None, None) == "of other weights under the same name"
    now = {"weights": "v.pth", "weights_files": [["v.pth", 7, 2]]}
    assert difference(before, now, None, None) == "weights was w.pth, is now v.pth"
    assert "earlier version" in difference({"photographs": "a"}, IMAGES, None, None)


def test_a_file_that_was_edited_in_place_is_named():
    old, new = (replace(photographs(a=1, b=2), digests={"a.jpg": "00", "b.jpg": sum_}) for sum_ in ("11", "22"))
    now = IMAGES | {"photographs": "another sum"}
    assert difference(IMAGES, now, old, new) == "of other photographs: b.jpg has changed"
    older = replace(old, digests={})
    assert difference(IMAGES, now, older, new) == "that an earlier version of this program made"


@pytest.mark.parametrize(
    ("name", "words"),
    [("masks", "of other masks"), ("pairs_file", "of another list of pairs"), ("features", "of other features")],
)
def test_files_that_changed_under_their_names(name, words):
    assert difference({name: "00"}, {name: "11"}, None, None) == words
    assert difference({name: None}, {name: "11"}, None, None).endswith("was not given, is now given")
