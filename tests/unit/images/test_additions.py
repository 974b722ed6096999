"""Which photographs are new to a model, and one folder for all of them."""

import shutil

import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.additions import find_additions, one_root


@pytest.fixture
def old(make, photographs, tmp_path):
    """Two photographs of a model in a folder of their own."""
    root = tmp_path / "old"
    root.mkdir()
    for name in ("a.jpg", "b.jpg"):
        shutil.move(make(name), root / name)
    return root


NAMES = ["a.jpg", "b.jpg"]


def test_other_names_are_new_and_copies_are_not(make, photographs, old):
    make("c.jpg")
    make("folder/d.png")
    shutil.copy(old / "a.jpg", photographs / "a.jpg")
    shutil.copy(old / "b.jpg", photographs / "copy.jpg")
    new, dropped = find_additions(photographs, old, NAMES)
    assert new == ["c.jpg", "folder/d.png"]
    assert [(item.name, "b.jpg" in item.reason) for item in dropped] == [("copy.jpg", True)]


def test_a_changed_file_is_refused(make, photographs, old):
    make("a.jpg")
    make("c.jpg")
    with pytest.raises(InputError, match="differs from the photograph of that name"):
        find_additions(photographs, old, NAMES)


def test_nothing_new_and_missing_photographs_end_in_sentences(make, photographs, old):
    shutil.copy(old / "a.jpg", photographs)
    with pytest.raises(InputError, match="no photograph that the model has not"):
        find_additions(photographs, old, NAMES)
    make("c.jpg")
    with pytest.raises(InputError, match="--images"):
        find_additions(photographs, old, [*NAMES, "gone.jpg"])


def test_one_root_is_made_only_where_it_is_needed(make, photographs, old, tmp_path):
    make("c.jpg")
    made = one_root(photographs, old, NAMES, ["c.jpg"], tmp_path / "made")
    assert made == tmp_path / "made"
    assert sorted(path.name for path in made.iterdir()) == ["a.jpg", "b.jpg", "c.jpg"]
    assert (made / "a.jpg").read_bytes() == (old / "a.jpg").read_bytes()
    for name in NAMES:
        shutil.copy(old / name, photographs)
    assert one_root(photographs, old, NAMES, ["c.jpg"], tmp_path / "other") == photographs
    assert one_root(photographs, photographs, NAMES, ["c.jpg"], tmp_path / "other") == photographs
    assert not (tmp_path / "other").exists()
