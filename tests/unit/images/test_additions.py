"""Which photographs are new to a model, and one folder for all of them."""

import shutil
from dataclasses import replace

import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.additions import find_additions, one_root, with_old_cameras
from dust3r_sfm.images.read import read_images
from dust3r_sfm.options import ImageOptions
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import KnownCamera


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


def old_model(focals):
    """A model of photographs of 64 × 48 pixels, each with a camera of its own focal length."""
    model = pycolmap.Reconstruction()
    for number, (name, focal) in enumerate(focals.items(), start=1):
        camera = pycolmap.Camera(model="PINHOLE", width=64, height=48, params=[focal, focal, 32, 24], camera_id=number)
        model.add_camera_with_trivial_rig(camera)
        model.add_image_with_trivial_frame(pycolmap.Image(name, [], number, number), pycolmap.Rigid3d())
    return model


def extended(make, photographs, focals, **given):
    """The photographs by name, with what `with_old_cameras` gives them; all share a camera group."""
    make("new.jpg")
    make("portrait.jpg", size=(48, 64))
    for name in focals:
        make(name)
    images = read_images(photographs, ImageOptions(camera_sharing="single"))
    new = {view.name: replace(view, **given) for view in images.views if view.name not in focals}
    return {view.name: view for view in with_old_cameras(images, old_model(focals), photographs, new).views}


def test_a_new_photograph_takes_the_camera_of_its_group_and_its_size(make, photographs):
    views = extended(make, photographs, {"a.jpg": 50.0, "b.jpg": 50.0})
    assert views["new.jpg"].known_camera == views["a.jpg"].known_camera is not None
    assert views["new.jpg"].camera_group == views["a.jpg"].camera_group
    assert views["portrait.jpg"].known_camera is None and views["portrait.jpg"].known_intrinsics is None
    assert views["portrait.jpg"].camera_group != views["a.jpg"].camera_group
    assert views["a.jpg"].known_cam_from_world is not None and views["new.jpg"].known_cam_from_world is None


def test_a_camera_is_not_guessed_and_what_the_user_knows_comes_first(make, photographs):
    focals = {"a.jpg": 50.0, "b.jpg": 60.0}
    assert extended(make, photographs, focals)["new.jpg"].known_camera is None
    camera = KnownCamera(model="PINHOLE", size=(64, 48), params=(70.0, 70.0, 32.0, 24.0))
    assert extended(make, photographs, focals, known_camera=camera)["new.jpg"].known_camera == camera


def test_camera_groups_are_those_of_all_photographs(make, photographs):
    """What the user knows is read for the new ones alone, whose groups are then numbered anew."""
    views = extended(make, photographs, {"a.jpg": 50.0}, camera_group=7)
    assert views["new.jpg"].known_camera == views["a.jpg"].known_camera is not None
