import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from dust3r_sfm.errors import ImageError
from dust3r_sfm.images.load import load_mask, load_original, load_pixels
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.resize import DEFAULT_GRID, Grid
from dust3r_sfm.options import ImageOptions


def read_one(folder, grid=DEFAULT_GRID, **options):
    (view,) = read_images(folder, ImageOptions(**options), grid).views
    return view


def expected_ramp(view):
    """Red and green at each network pixel, from the position that `network_from_image` says it has in the file."""
    width, height = view.network_size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    network = np.stack([x, y, np.ones_like(x)])
    image = np.einsum("ij,jhw->ihw", np.linalg.inv(view.network_from_image), network)
    return 255 * image[:2].transpose(1, 2, 0) / view.size


def assert_pixels_lie_where_the_map_says(view, tolerance=1.0):
    pixels = load_pixels(view)
    assert pixels.shape == (view.network_size[1], view.network_size[0], 3)
    difference = (pixels[..., :2] - expected_ramp(view))[4:-4, 4:-4]
    assert np.abs(difference).max() <= tolerance
    levels_per_network_pixel = 255 * np.abs(np.linalg.inv(view.network_from_image)[:2, :2]).sum(axis=1) / view.size
    assert np.abs(difference.mean(axis=(0, 1)) / levels_per_network_pixel).max() < 0.1


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_and_format_lies_on_its_grid(photographs, make, make_exif, suffix, orientation):
    make(f"a.{suffix}", (320, 240), exif=make_exif(Orientation=orientation), **_exact(suffix))
    view = read_one(photographs, Grid(size=256, multiple_of=16))

    assert view.orientation == orientation
    assert view.size == (320, 240)
    assert view.network_size == ((192, 256) if orientation in (6, 8) else (256, 192))
    assert_pixels_lie_where_the_map_says(view, tolerance=3.0 if suffix == "jpg" else 1.0)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_network_sees_the_upright_picture(photographs, make, make_exif, orientation):
    path = make("a.png", (320, 240), exif=make_exif(Orientation=orientation))
    upright = ImageOps.exif_transpose(Image.open(path))
    pixels = load_pixels(read_one(photographs, Grid(size=256)))

    np.testing.assert_array_equal(pixels, upright.resize(pixels.shape[1::-1], Image.Resampling.LANCZOS))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(120, 400), st.integers(120, 400)),
    orientation=st.sampled_from([1, 3, 6, 8]),
    grid=st.builds(
        Grid, size=st.integers(110, 300), multiple_of=st.sampled_from([1, 14, 16]), square_crop=st.booleans()
    ),
)
def test_any_size_lies_on_its_grid(photographs, make, make_exif, size, orientation, grid):
    make("a.png", size, exif=make_exif(Orientation=orientation))
    assert_pixels_lie_where_the_map_says(read_one(photographs, grid), tolerance=1.5)


@pytest.mark.parametrize("size", [(1601, 1203), (1999, 1499), (803, 2407)])
def test_reduced_jpeg_decoding_does_not_shift_the_picture(photographs, make, size):
    make("a.jpg", size)
    assert_pixels_lie_where_the_map_says(read_one(photographs, Grid(size=128)), tolerance=4.0)


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, 3), (8, 1)])
def test_reduced_jpeg_decoding_turns_about_the_true_edges(photographs, make, make_exif, orientation, turns):
    lying = np.rot90(load_pixels(_noise(photographs, make_exif(Orientation=1))), turns)
    turned = load_pixels(_noise(photographs, make_exif(Orientation=orientation)))

    assert np.abs(turned.astype(int) - lying).mean() < 0.3  # Pillow rounds between its passes


def test_the_turn_comes_from_the_map_alone(photographs, make, make_exif):
    make("a.png", (320, 240), exif=make_exif(Orientation=6))
    view = read_one(photographs)

    np.testing.assert_array_equal(load_pixels(dataclasses.replace(view, orientation=1)), load_pixels(view))


def test_the_original_keeps_the_raw_grid_in_every_format(photographs, make, make_exif):
    for orientation in (1, 2, 5, 6, 8):
        for suffix in ("png", "tif"):
            path = make(f"a.{suffix}", (320, 240), exif=make_exif(Orientation=orientation))
            original = load_original(read_one(photographs))
            assert original.shape == (240, 320, 3)
            assert original[0, -1, 0] > 250 and original[0, -1, 1] < 5
            path.unlink()


def test_a_file_changed_since_reading_is_named(photographs, make):
    path = make("a.jpg", (320, 240))
    view = read_one(photographs)
    make("a.jpg", (200, 150))
    with pytest.raises(ImageError, match=r"a\.jpg.*no longer 320 × 240"):
        load_pixels(view)
    path.unlink()
    with pytest.raises(ImageError, match=r"a\.jpg.*no such file"):
        load_original(view)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_masks_turn_with_their_photograph(photographs, make, make_exif, tmp_path, orientation):
    make("a.png", (320, 240), exif=make_exif(Orientation=orientation))
    usable = np.zeros((240, 320), dtype=np.uint8)
    usable[:, :160] = 1  # anything but black counts
    (tmp_path / "masks").mkdir()
    Image.fromarray(usable).save(tmp_path / "masks" / "a.png.png")
    view = read_one(photographs, masks=tmp_path / "masks")

    mask = load_mask(view)
    assert mask is not None and mask.shape == view.network_size[::-1]
    np.testing.assert_array_equal(mask, expected_ramp(view)[..., 0] < 127.5)


def test_transparent_parts_are_not_used(photographs, make):
    make("opaque.png", (64, 48), mode="RGBA")
    layer = Image.new("RGBA", (64, 48), (10, 20, 30, 255))
    layer.paste((10, 20, 30, 0), (0, 0, 32, 48))
    layer.save(photographs / "transparent.png")
    opaque, transparent = read_images(photographs, ImageOptions(), Grid(size=64)).views

    assert load_mask(opaque) is None
    np.testing.assert_array_equal(load_mask(transparent), np.arange(64) >= np.full((48, 1), 32))
    assert load_pixels(transparent)[20, 5].tolist() == [255, 255, 255]
    assert load_pixels(transparent)[20, 60].tolist() == [10, 20, 30]


@pytest.mark.data
@pytest.mark.parametrize("case", ["down", "up", "square", "c224", "portrait"])
def test_pixels_agree_with_dust3r(photographs, parity, case):
    fixtures = np.load(parity / "preprocess_pixels.npz")
    width, height = fixtures[f"{case}.orig_wh"]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    picture = np.stack([255 * x // (width - 1), 255 * y // (height - 1), (7 * x + 13 * y) % 256], axis=2)
    Image.fromarray(picture.astype(np.uint8)).save(photographs / "a.png")
    size = int(fixtures[f"{case}.size"])
    view = read_one(photographs, Grid(size=size, multiple_of=16, square_ok=False, square_crop=size == 224))

    tensor = load_pixels(view).transpose(2, 0, 1) / 127.5 - 1
    assert tensor.shape == tuple(fixtures[f"{case}.shape"])
    np.testing.assert_allclose(tensor[:, ::4, ::4], fixtures[f"{case}.every4"], atol=1.01 * 2 / 255)
    np.testing.assert_allclose(tensor.mean(axis=(1, 2)), fixtures[f"{case}.mean"], atol=1e-4)


def _noise(folder, exif):
    """A JPEG whose size, a multiple of eight and one more, leaves almost a whole pixel to spare at 1/8."""
    noise = np.random.default_rng(0).integers(0, 255, (91, 121, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((1209, 905)).save(folder / "noise.jpg", exif=exif, quality=95)
    return read_one(folder, Grid(size=64))


def _exact(suffix):
    return {"lossless": True} if suffix == "webp" else {}
