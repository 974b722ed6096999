import json
import os

import numpy as np
import pytest
from PIL import ExifTags, Image

from dust3r_sfm.images.load import load_original, load_pixels
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.transcode import transcode
from dust3r_sfm.options import ImageOptions
from dust3r_sfm.system._pycolmap import pycolmap


def read(folder):
    return read_images(folder, ImageOptions())


def test_readable_photographs_stay_where_they_are(photographs, make, tmp_path):
    for name in ("a.jpg", "b.PNG", "c.tif", "d.bmp"):
        make(name)
    images = read(photographs)

    assert transcode(images, tmp_path / "images") is images
    assert not (tmp_path / "images").exists()


def test_the_whole_set_gets_one_root_that_colmap_reads(photographs, make, make_exif, tmp_path):
    make("a.jpg", (64, 48))
    make("sub/a.webp", (64, 48), exif=make_exif(Orientation=6, FocalLengthIn35mmFilm=26))
    Image.new("RGBA", (64, 48), (200, 100, 50, 60)).save(photographs / "sub" / "transparent.webp")
    make("taken.webp")
    make("taken.jpg")
    make("really.jpg").rename(photographs / "really.webp")
    old = read(photographs)
    new = transcode(old, tmp_path / "images")

    assert new.root == tmp_path / "images"
    assert dict(zip(old.names, new.names, strict=True)) == {
        "a.jpg": "a.jpg",
        "really.webp": "really.jpg",
        "sub/a.webp": "sub/a.jpg",
        "sub/transparent.webp": "sub/transparent.png",
        "taken.jpg": "taken.jpg",
        "taken.webp": "taken.webp.jpg",
    }
    for before, after in zip(old.views, new.views, strict=True):
        assert after.path == new.root / after.name
        bitmap = pycolmap.Bitmap.read(after.path, True)
        assert bitmap is not None and (bitmap.width, bitmap.height) == after.size == before.size
        assert np.abs(load_original(after).astype(int) - load_original(before)).mean() < 3
        assert np.abs(load_pixels(after).astype(int) - load_pixels(before)).mean() < 3


def test_exif_and_orientation_stay(photographs, make, make_exif, tmp_path):
    make("a.webp", (320, 240), exif=make_exif(Orientation=6, FocalLengthIn35mmFilm=26, Make="Apple"))
    (view,) = transcode(read(photographs), tmp_path / "images").views

    (again,) = read(tmp_path / "images").views
    assert (again.orientation, again.size, again.focal_prior) == (6, view.size, view.focal_prior)
    np.testing.assert_array_equal(again.network_from_image, view.network_from_image)
    assert Image.open(view.path).getexif()[ExifTags.Base.Make] == "Apple"


def test_heic_becomes_jpeg(photographs, make, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    make("IMG_1.HEIC", (320, 240))
    (view,) = transcode(read(photographs), tmp_path / "images").views

    assert view.name == "IMG_1.jpg"
    assert pycolmap.Bitmap.read(view.path, True) is not None


def test_a_second_run_uses_the_files_again(photographs, make, tmp_path):
    make("a.webp", (320, 240))
    first = transcode(read(photographs), tmp_path / "images").views[0].path.stat()
    second = transcode(read(photographs), tmp_path / "images").views[0].path.stat()
    assert first.st_ino == second.st_ino

    make("a.webp", (320, 240))
    os.utime(photographs / "a.webp", ns=(1, 1))
    assert transcode(read(photographs), tmp_path / "images").views[0].path.stat().st_ino != first.st_ino


def test_masks_and_cameras_stay_with_their_photographs(photographs, make, tmp_path):
    make("a.webp")
    make("b.webp")
    Image.new("L", (64, 48), 255).save(make("masks/a.webp.png"))
    old = read_images(photographs, ImageOptions(masks=photographs / "masks", camera_sharing="per-image"))
    new = transcode(old, tmp_path / "images")

    assert [view.mask for view in new.views] == [view.mask for view in old.views]
    assert [view.camera_group for view in new.views] == [0, 1]


def test_names_that_colmaps_text_files_lose_are_changed_and_listed(photographs, make, tmp_path):
    for seed, name in enumerate(("#1 first.jpg", " second.jpg", "_1 first.jpg", "sub/#3.jpg")):
        make(name, seed=seed)
    old = read(photographs)
    new = transcode(old, tmp_path / "images")

    renamed = {" second.jpg": "_second.jpg", "#1 first.jpg": "__1 first.jpg"}
    assert dict(zip(old.names, new.names, strict=True)) == renamed | {
        "_1 first.jpg": "_1 first.jpg",
        "sub/#3.jpg": "sub/#3.jpg",
    }
    assert json.loads((tmp_path / "images" / "names.json").read_text()) == renamed
    for before, after in zip(old.views, new.views, strict=True):
        np.testing.assert_array_equal(load_pixels(after), load_pixels(before))


def grey_16_bit(path, low, high, seed):
    values = np.linspace(low, high, 64 * 48).reshape(48, 64)
    values[0, 0] = 65535  # a dead pixel
    Image.fromarray(np.random.default_rng(seed).permuted(values, axis=1).astype(np.uint16)).save(path)


def test_16_bit_pictures_that_use_little_of_it_share_one_stretched_range(photographs, make, tmp_path):
    grey_16_bit(photographs / "dark.png", 7000, 7600, 0)
    grey_16_bit(photographs / "bright.tif", 7600, 8200, 1)
    make("colour.jpg")
    images = transcode(read(photographs), tmp_path / "images")

    assert images.names == ("bright.tif", "colour.jpg", "dark.png")
    bright, _, dark = (np.asarray(load_original(view))[..., 0] for view in images.views)
    assert abs(int(np.median(bright)) - 191) < 4 and abs(int(np.median(dark)) - 64) < 4
    assert dark.min() == 0 and len(np.unique(dark)) > 100
    with Image.open(images.views[0].path) as picture:
        assert (picture.format, picture.mode) == ("TIFF", "L")
    again = transcode(read(photographs), tmp_path / "images")
    assert np.array_equal(load_original(again.views[2])[..., 0], dark)


def test_16_bit_pictures_that_use_all_of_it_stay(photographs, tmp_path):
    grey_16_bit(photographs / "a.png", 100, 60000, 0)
    grey_16_bit(photographs / "b.png", 200, 50000, 1)
    images = read(photographs)
    assert transcode(images, tmp_path / "images") is images
