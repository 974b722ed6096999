"""Straight pictures of photographs through strong lenses."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.straight import straight_camera, straighten_photographs, strong_lenses
from dust3r_sfm.options import ImageOptions, KnownOptions
from dust3r_sfm.types import ImageSet, KnownCamera

SIZE = (320, 240)
BARREL = KnownCamera(model="OPENCV", size=SIZE, params=(195.0, 195.0, 160.0, 120.0, -0.28, 0.07, 0.0, 0.0))
FISHEYE = KnownCamera(model="OPENCV_FISHEYE", size=SIZE, params=(110.0, 110.0, 160.0, 120.0, 0.0, 0.0, 0.0, 0.0))


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """Two photographs whose red and green are the place of each pixel; the second has a mask of its left half."""
    folder, masks = tmp_path / "ä photos", tmp_path / "masks"
    folder.mkdir()
    masks.mkdir()
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    picture = np.stack([x * 255 / SIZE[0], y * 255 / SIZE[1], 0 * x], axis=-1).round().astype(np.uint8)
    for number, name in enumerate(("a 1.png", "b.jpg")):
        Image.fromarray(picture + np.array([0, 0, 40 * number], np.uint8)).save(folder / name)
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[:, SIZE[0] // 2 :] = 255
    Image.fromarray(mask).save(masks / "b.jpg.png")
    return read_images(folder, ImageOptions(masks=masks))


@pytest.mark.parametrize("camera", [BARREL, FISHEYE])
def test_a_straight_picture_shows_what_its_pinhole_sees(camera: KnownCamera, images: ImageSet, tmp_path: Path) -> None:
    names = straighten_photographs(images, dict.fromkeys(images.names, camera), tmp_path / "out")
    straight = straight_camera(camera)
    assert names == {"a 1.png": "a 1.png.jpg", "b.jpg": "b.jpg"}
    pixels = np.array(Image.open(tmp_path / "out/images/a 1.png.jpg")).astype(float)
    assert pixels.shape[1::-1] == straight.size
    place = np.array([[30.5, 20.5], [straight.size[0] - 20.5, straight.size[1] / 2 + 0.5]])
    ray = np.column_stack([np.asarray(colmap_camera(straight).cam_from_img(place)), np.ones(2)])
    there = np.asarray(colmap_camera(camera).img_from_cam(ray))
    shown = pixels[place[:, 1].astype(int), place[:, 0].astype(int), :2] * np.array(SIZE) / 255
    assert np.abs(shown - there).max() < 3
    mask = np.array(Image.open(tmp_path / "out/masks/b.jpg.png"))
    assert not mask[:, : straight.size[0] // 2 - 1].any()
    assert mask[:, straight.size[0] // 2 + 1 :].all()


@pytest.mark.parametrize("camera", [BARREL, FISHEYE])
def test_no_pixel_of_a_straight_picture_is_blank_and_none_is_far_out(camera: KnownCamera) -> None:
    straight = straight_camera(camera)
    width, height = straight.size
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
    rays = np.column_stack([np.asarray(colmap_camera(straight).cam_from_img(corners)), np.ones(4)])
    there = np.asarray(colmap_camera(camera).img_from_cam(rays))
    assert (there >= 0).all()
    assert (there <= SIZE).all()
    assert width / 2 / straight.params[0] <= np.tan(np.radians(50))
    assert min(width, height) > 100


def test_a_picture_is_made_again_when_its_lens_changed(images: ImageSet, tmp_path: Path) -> None:
    out = tmp_path / "out"
    straighten_photographs(images, dict.fromkeys(images.names, BARREL), out)
    first = (out / "images/b.jpg").stat().st_mtime_ns
    straighten_photographs(images, dict.fromkeys(images.names, BARREL), out)
    assert (out / "images/b.jpg").stat().st_mtime_ns == first
    straighten_photographs(images, dict.fromkeys(images.names, FISHEYE), out)
    assert Image.open(out / "images/b.jpg").size == straight_camera(FISHEYE).size


def test_strong_lenses_are_taken_and_weak_ones_left_to_the_others(images: ImageSet, tmp_path: Path) -> None:
    def text(camera: KnownCamera) -> str:
        return ",".join(map(str, (camera.model, *camera.size, *camera.params)))

    weak = KnownCamera(model="OPENCV", size=SIZE, params=(300.0, 300.0, 160.0, 120.0, 0.01, 0.0, 0.0, 0.0))
    assert strong_lenses(images, KnownOptions(intrinsics=text(BARREL))) == dict.fromkeys(images.names, BARREL)
    assert strong_lenses(images, KnownOptions(intrinsics=text(weak))) == {}
    with pytest.raises(InputError, match="dust3r-sfm refine"):
        strong_lenses(images, KnownOptions(intrinsics=text(BARREL), poses=tmp_path))
    with pytest.raises(InputError, match="--gps"):
        strong_lenses(images, KnownOptions(intrinsics=text(BARREL), gps=tmp_path / "gps.csv"))
