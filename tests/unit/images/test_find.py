"""Photographs as a folder, as a list of files and folders, and as a text file."""

import os
from pathlib import Path

import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.find import find_photographs
from dust3r_sfm.images.read import read_images
from dust3r_sfm.options import ImageOptions


def test_a_folder_is_its_own_root(photographs, make):
    make("sub/b.jpg")
    make("a.jpg")
    assert find_photographs(photographs) == (photographs, ["a.jpg", "sub/b.jpg"])


def test_files_of_several_folders_are_named_below_the_deepest_common_one(photographs, make):
    files = [make("north/day 1/a.jpg"), make("north/day 2/a.jpg"), make("north/day 1/b.jpg")]
    make("south/c.jpg")
    assert find_photographs(files) == (photographs / "north", ["day 1/a.jpg", "day 1/b.jpg", "day 2/a.jpg"])

    images = read_images(files, ImageOptions())
    assert images.root == photographs / "north" and images.names == ("day 1/a.jpg", "day 1/b.jpg", "day 2/a.jpg")
    assert [view.path for view in images.views] == sorted(files)


def test_files_of_one_folder_have_the_names_that_the_folder_gives_them(photographs, make):
    files = [make(name) for name in ("b.jpg", "a.jpg", "c.jpg")]
    assert find_photographs(files[:2]) == (photographs, ["a.jpg", "b.jpg"])
    assert find_photographs(files) == find_photographs(photographs)


def test_folders_stand_for_all_they_hold_and_nothing_comes_twice(photographs, make):
    make("x/a.jpg")
    make("x/deep/b.jpg")
    other = make("y/c.jpg")
    (photographs / "x" / "notes.txt").touch()
    twice = [photographs / "x", other, other, photographs / "x" / ".." / "y" / "c.jpg"]
    assert find_photographs(twice) == (photographs, ["x/a.jpg", "x/deep/b.jpg", "y/c.jpg"])


def test_relative_files_have_an_absolute_root(photographs, make, monkeypatch):
    make("a.jpg")
    make("x/b.jpg")
    monkeypatch.chdir(photographs / "x")
    assert find_photographs([Path("b.jpg"), Path("../a.jpg")]) == (photographs, ["a.jpg", "x/b.jpg"])


def test_links_keep_the_names_that_they_have(photographs, make, tmp_path):
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    for name in ("b.jpg", "a.jpg"):
        (chosen / f"my {name}").symlink_to(make(f"elsewhere/{name}"))
    assert find_photographs([chosen / "my a.jpg", chosen / "my b.jpg"]) == (chosen, ["my a.jpg", "my b.jpg"])


def test_a_text_file_lists_paths_relative_to_itself(photographs, make, tmp_path):
    first, second = make("a 1.jpg"), make("x/ü.jpg")
    listed = tmp_path / "photographs.TXT"
    listed.write_text(f"{os.path.relpath(first, tmp_path)}\r\n\n {second}\n", encoding="utf-8-sig")
    assert find_photographs(listed) == (photographs, ["a 1.jpg", "x/ü.jpg"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "list of photographs is empty: name one"),
        (["a.jpg", "gone.jpg"], r"no photograph .*gone\.jpg: check the list"),
        (["empty"], r"no photographs in .*empty: give folders that hold some"),
        ("nobody.txt", r"list of photographs .*nobody\.txt cannot be read"),
        ("blank.txt", "list of photographs is empty"),
        ("broken.txt", r"broken\.txt cannot be read .*: give a text file"),
    ],
)
def test_lists_that_lead_nowhere_are_refused(photographs, make, given, message):
    make("a.jpg")
    (photographs / "empty").mkdir()
    (photographs / "blank.txt").write_text(" \n\n")
    (photographs / "broken.txt").write_bytes(b"\xff\xfe\xfa")
    photos = photographs / given if isinstance(given, str) else [photographs / name for name in given]
    with pytest.raises(InputError, match=message):
        find_photographs(photos)


def test_names_choose_among_a_list(photographs, make):
    files = [make("x/a.jpg"), make("y/b.jpg")]
    assert read_images(files, ImageOptions(), names=["y/b.jpg"]).names == ("y/b.jpg",)
    with pytest.raises(InputError, match=r"no photograph z\.jpg"):
        read_images(files, ImageOptions(), names=["z.jpg"])
