import pytest
from hypothesis import given
from hypothesis import strategies as st

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.sharing import camera_groups

PHONE = ("Apple", "iPhone 12", 4.2, 26.0)
WIDE = ("Apple", "iPhone 12", 1.5, 13.0)


def names(count):
    return [f"{index:03d}.jpg" for index in range(count)]


def test_exif_tells_cameras_apart_even_in_small_sets():
    groups = camera_groups(names(4), [(400, 300)] * 4, [PHONE, WIDE, PHONE, WIDE], "auto")
    assert groups == [0, 1, 0, 1]


def test_a_phone_held_upright_is_the_same_phone():
    assert camera_groups(names(2), [(400, 300), (300, 400)], [PHONE, PHONE], "auto") == [0, 0]


def test_another_resolution_is_another_camera():
    assert camera_groups(names(2), [(400, 300), (800, 600)], [PHONE, PHONE], "auto") == [0, 1]


def test_frames_without_exif_share_a_camera():
    assert camera_groups(names(2), [(400, 300)] * 2, [None] * 2, "auto") == [0, 0]


def test_two_videos_are_two_cameras():
    groups = camera_groups(names(30), [(400, 300)] * 18 + [(800, 600)] * 12, [None] * 30, "auto")
    assert groups == [0] * 18 + [1] * 12


def test_a_collection_whose_sizes_agree_by_accident_shares_nothing():
    sizes = [(1024, 768), (1024, 683), (1024, 768), (1024, 576), (768, 1024)]
    assert camera_groups(names(5), sizes, [None] * 5, "auto") == [0, 1, 2, 3, 4]


def test_photographs_with_and_without_exif_do_not_mix():
    assert camera_groups(names(3), [(400, 300)] * 3, [PHONE, None, None], "auto") == [0, 1, 1]


def test_folders_share_when_asked():
    in_folders = ["left/a.jpg", "right/a.jpg", "left/b.jpg", "c.jpg"]
    assert camera_groups(in_folders, [(400, 300)] * 4, [None] * 4, "per-folder") == [0, 1, 0, 2]


@pytest.mark.parametrize("sharing", ["single", "per-folder"])
def test_different_sizes_cannot_share(sharing):
    with pytest.raises(InputError, match=r"000\.jpg \(400 × 300\) and 001\.jpg \(800 × 600\) cannot share"):
        camera_groups(names(2), [(400, 300), (800, 600)], [None, None], sharing)


@given(st.lists(st.sampled_from([None, PHONE, WIDE]), max_size=40), st.sampled_from(["auto", "single", "per-image"]))
def test_groups_are_numbered_in_order_of_appearance(cameras, sharing):
    groups = camera_groups(names(len(cameras)), [(400, 300)] * len(cameras), cameras, sharing)

    assert list(dict.fromkeys(groups)) == list(range(len(set(groups))))
    if sharing == "single":
        assert len(set(groups)) <= 1
    if sharing == "per-image":
        assert len(set(groups)) == len(cameras)
