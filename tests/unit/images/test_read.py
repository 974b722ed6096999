import os
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.errors import ImageError, InputError
from dust3r_sfm.images import decode
from dust3r_sfm.images.find import find_images
from dust3r_sfm.images.load import load_pixels
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.options import ImageOptions


def read(folder, names=None, **options):
    return read_images(folder, ImageOptions(**options), Grid(size=64), names)


def reasons(images):
    return {item.name: item.reason for item in images.dropped}


def test_names_are_found_whatever_they_look_like(photographs, make):
    decomposed = unicodedata.normalize("NFD", "été.jpg")
    names = ["B.JPG", "a 1.jpeg", "sub/deep/c.PnG", "sub/ä\u202fö.tiff", decomposed, "x.webp", "y.bmp"]
    for name in names:
        make(name)
    for ignored in (".hidden.jpg", ".cache/a.jpg", "notes.txt", "movie.mp4", "a.jpg.xmp"):
        (photographs / ignored).parent.mkdir(exist_ok=True)
        (photographs / ignored).write_text("x")

    assert find_images(photographs) == sorted(names)
    images = read(photographs)
    assert images.names == tuple(sorted(names))
    assert not images.dropped and not images.warnings
    assert all(view.path.is_file() and view.size == (64, 48) for view in images.views)


def test_linked_folders_are_entered_once(photographs, make, tmp_path):
    make("a.jpg")
    (photographs / "loop").symlink_to(photographs)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(make("b.jpg"), elsewhere / "b.jpg")
    (photographs / "linked").symlink_to(elsewhere)

    assert find_images(photographs) == ["a.jpg", "linked/b.jpg"]


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.jpg", "L"),
        ("a.jpg", "CMYK"),
        ("a.png", "L"),
        ("a.png", "LA"),
        ("a.png", "RGBA"),
        ("a.png", "P"),
        ("a.png", "1"),
        ("a.tif", "CMYK"),
        ("a.tif", "LAB"),
        ("a.webp", "RGBA"),
        ("a.bmp", "L"),
    ],
)
def test_every_pixel_type_becomes_rgb(photographs, make, name, mode):
    make(name, (64, 48), mode=mode)
    (view,) = read(photographs).views

    pixels = load_pixels(view)
    assert pixels.shape == (48, 64, 3)
    assert pixels.std() > 20


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_keep_their_brightness(photographs, suffix):
    values = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    Image.fromarray(values).save(photographs / f"a.{suffix}")
    (view,) = read(photographs).views

    np.testing.assert_array_equal(load_pixels(view)[..., 1], values >> 8)


def test_heic_is_read_where_the_plugin_is(photographs, make):
    pytest.importorskip("pillow_heif")
    decode.register_heic()
    make("a.HEIC", (320, 240))
    (view,) = read(photographs).views

    assert view.size == (320, 240)
    assert load_pixels(view).shape == (48, 64, 3)


def test_heic_without_the_plugin_says_what_to_install(photographs, make, monkeypatch):
    make("a.jpg")
    shutil.copy(make("renamed.jpg"), photographs / "really_jpeg.heic")
    (photographs / "b.heic").write_bytes(b"\0\0\0\x18ftypXXXX")
    monkeypatch.setattr(decode, "register_heic", lambda: False)
    images = read(photographs)

    assert reasons(images)["b.heic"] == "HEIC needs a plugin: pip install dust3r_sfm[heic]"
    assert images.names == ("a.jpg", "really_jpeg.heic")


def damage(photographs, make):
    make("good.jpg")
    (photographs / "text.jpg").write_text("this is not a photograph")
    (photographs / "empty.png").touch()
    for name in ("cut.jpg", "cut.png", "cut.tif", "cut.webp"):
        path = make(name, (640, 480))
        path.write_bytes(path.read_bytes()[:-300])
    progressive = make("progressive.jpg", (640, 480), progressive=True)
    progressive.write_bytes(progressive.read_bytes()[:-300])
    make("dot.png", (1, 1))
    make("sliver.png", (2000, 40))
    Image.fromarray(np.zeros((48, 64), dtype=np.float32)).save(photographs / "float.tif")
    (photographs / "gone.jpg").symlink_to(photographs / "nowhere.jpg")
    (photographs / "line\nbreak.jpg").touch()


def test_what_cannot_be_used_is_left_out_by_name_and_reason(photographs, make):
    damage(photographs, make)
    images = read(photographs)

    assert images.names == ("good.jpg",)
    expected = {
        "cut.jpg": "damaged or cut short",
        "cut.png": "damaged or cut short",
        "cut.tif": "damaged or cut short",
        "cut.webp": "",
        "dot.png": "only 1 × 1 pixels",
        "empty.png": "not an image",
        "float.tif": "floating-point",
        "gone.jpg": "no such file",
        "line\\nbreak.jpg": "rename it",
        "progressive.jpg": "damaged or cut short",
        "sliver.png": "too narrow",
        "text.jpg": "not an image",
    }
    assert list(reasons(images)) == sorted(expected)
    for name, reason in expected.items():
        assert reason in reasons(images)[name], name


def test_strict_stops_at_the_first(photographs, make):
    damage(photographs, make)
    with pytest.raises(ImageError, match=r"cut\.jpg cannot be used: it is damaged"):
        read(photographs, strict=True)


def test_the_same_bytes_are_used_once(photographs, make):
    original = make("b.jpg")
    shutil.copy(original, photographs / "c.jpg")
    make("a.jpg")
    images = read(photographs, strict=True)

    assert images.names == ("a.jpg", "b.jpg")
    assert reasons(images) == {"c.jpg": "it has the same bytes as b.jpg"}


def test_mirrored_photographs_are_reported(photographs, make, make_exif):
    for orientation in (1, 2, 6):
        make(f"{orientation}.jpg", exif=make_exif(Orientation=orientation))
    images = read(photographs)

    assert images.warnings == ("2.jpg is mirrored (EXIF orientation 2); it is used as it is stored.",)


def test_a_phone_that_is_turned_keeps_camera_and_focal_length(photographs, make, make_exif):
    tags = {"Make": "Apple", "Model": "iPhone 12", "FocalLengthIn35mmFilm": 26}
    make("lying.jpg", (640, 480), exif=make_exif(Orientation=1, **tags))
    make("standing.jpg", (640, 480), exif=make_exif(Orientation=6, **tags))
    lying, standing = read(photographs).views

    assert lying.camera_group == standing.camera_group
    assert lying.focal_prior == standing.focal_prior == pytest.approx(26 * 800 / 43.267, rel=1e-4)
    assert (lying.network_size, standing.network_size) == ((64, 48), (48, 64))


@pytest.mark.parametrize("mask_name", ["{name}.png", "{stem}.png"])
def test_masks_are_found_by_either_rule(photographs, make, tmp_path, mask_name):
    masks = tmp_path / "masks"
    for name, stem in (("sub/a.jpg", "sub/a"), ("b.JPG", "b")):
        make(name)
        path = masks / mask_name.format(name=name, stem=stem)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (64, 48), 255).save(path)
    make("c.jpg")
    b, c, a = read(photographs, masks=masks).views

    assert a.mask is not None and a.mask.parent == masks / "sub"
    assert b.mask is not None and c.mask is None
    assert "1 of 3 photographs have no mask" in read(photographs, masks=masks).warnings[0]


def test_masks_inside_the_photographs_are_not_photographs(photographs, make):
    make("a.jpg")
    Image.new("L", (64, 48), 255).save(make("masks/a.jpg.png"))

    assert read(photographs, masks=photographs / "masks").names == ("a.jpg",)


def test_masks_that_do_not_fit_are_refused(photographs, make, tmp_path):
    make("a.jpg")
    with pytest.raises(InputError, match="no folder of masks"):
        read(photographs, masks=tmp_path / "nowhere")
    (tmp_path / "masks").mkdir()
    with pytest.raises(InputError, match=r"no mask for any photograph: masks are called like a\.jpg\.png or a\.png"):
        read(photographs, masks=tmp_path / "masks")
    Image.new("L", (48, 64), 255).save(tmp_path / "masks" / "a.png")
    with pytest.raises(InputError, match=r"48 × 64 pixels large, but a\.jpg is 64 × 48.*before EXIF orientation"):
        read(photographs, masks=tmp_path / "masks")


def test_folders_that_are_none_are_refused(photographs, make, tmp_path):
    with pytest.raises(InputError, match="no photographs"):
        read(photographs)
    with pytest.raises(InputError, match="not a folder of photographs: check the path"):
        read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="not a folder of photographs: give the folder"):
        read(make("a.jpg"))


def test_a_folder_of_rubbish_is_refused_with_a_reason(photographs):
    (photographs / "a.jpg").write_text("x")
    with pytest.raises(InputError, match=r"No photograph .* can be used; the first, a\.jpg: it is not an image"):
        read(photographs)


def test_a_list_of_names_chooses(photographs, make):
    for name in ("a.jpg", "sub/b.jpg", "c.jpg"):
        make(name)
    shutil.copy(photographs / "a.jpg", photographs / "no_suffix")

    assert read(photographs, names=["sub/b.jpg", "a.jpg", "a.jpg"]).names == ("a.jpg", "sub/b.jpg")
    assert read(photographs, names=["no_suffix"]).names == ("no_suffix",)
    with pytest.raises(InputError, match=r"no photograph d\.jpg"):
        read(photographs, names=["d.jpg"])
    for outside in ("../a.jpg", "sub/../../a.jpg", str(photographs / "a.jpg")):
        with pytest.raises(InputError, match="leads out of"):
            read(photographs, names=[outside])


def test_progress_counts_every_file(photographs, make):
    for index in range(5):
        make(f"{index}.jpg")
    seen = []
    read_images(photographs, ImageOptions(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 5) for done in range(1, 6)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_left_out(photographs, make):
    make("a.jpg")
    make("b.jpg").chmod(0)
    assert "change its permissions" in reasons(read(photographs))["b.jpg"]


@pytest.mark.data
@pytest.mark.parametrize(
    ("dataset", "num_photographs", "num_cameras"), [("sacre_coeur", 10, 10), ("fox_a", 25, 1), ("sceaux_castle", 11, 1)]
)
def test_real_sets_have_the_cameras_they_were_taken_with(data_root, dataset, num_photographs, num_cameras):
    images = read(data_root / dataset / "images")
    assert len(images) == num_photographs
    assert len({view.camera_group for view in images.views}) == num_cameras
    for view in images.views if dataset == "sceaux_castle" else ():
        assert view.focal_prior == pytest.approx(1634.6, rel=0.02)


def test_a_postscript_program_is_no_photograph_and_ghostscript_stays_asleep(photographs, make, tmp_path, monkeypatch):
    make("a.jpg")
    (photographs / "b.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n"
    )
    gs = tmp_path / "bin" / "gs"
    gs.parent.mkdir()
    gs.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
    gs.chmod(0o755)
    monkeypatch.setenv("PATH", str(gs.parent), prepend=":")
    images = read(photographs)

    assert images.names == ("a.jpg",)
    assert reasons(images)["b.jpg"] == "it is not an image of a known format, whatever its name says"
    assert not (tmp_path / "called").exists()


def test_a_pipe_is_no_photograph(photographs, make):
    make("a.jpg")
    os.mkfifo(photographs / "b.jpg")

    assert reasons(read(photographs)) == {"b.jpg": "it is no regular file: give a photograph"}


def test_a_photograph_of_200_megapixels_is_read_without_a_warning(photographs, recwarn):
    Image.new("L", (16320, 12240), 100).save(photographs / "a.jpg", quality=20)
    (view,) = read(photographs).views

    assert view.size == (16320, 12240)
    assert load_pixels(view).shape == (48, 64, 3)
    assert not [each for each in recwarn.list if issubclass(each.category, Image.DecompressionBombWarning)]
