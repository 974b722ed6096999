"""360° panoramas are recognised, and photographs of the same shape are not."""

import cv2
import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.priors.panorama import continues_around, is_twice_as_wide
from dust3r_sfm.images.read import read_images
from dust3r_sfm.options import ImageOptions

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" '
    b'GPano:ProjectionType="equirectangular"/></rdf:RDF></x:xmpmeta>'
)


def textured(seed: int, *, around: bool, size: tuple[int, int] = (512, 256)) -> np.ndarray:
    """Smooth noise that goes on at the borders, or a part of such that does not."""
    rng = np.random.default_rng(seed)
    width, height = size
    noise = np.zeros((height, 3 * width), np.float32)
    for sigma, strength in ((32, 50), (8, 30), (2, 12)):
        white = rng.standard_normal((height, width if around else 3 * width)).astype(np.float32)
        smooth = cv2.GaussianBlur(np.tile(white, (1, 3)) if around else white, (0, 0), sigma)
        noise += strength * smooth / smooth.std()
    grey = np.clip(128 + noise[:, width : 2 * width], 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


@pytest.mark.parametrize("seed", range(6))
def test_borders_that_continue_each_other(seed):
    assert continues_around(textured(seed, around=True))
    assert not continues_around(textured(seed, around=False))
    assert is_twice_as_wide((512, 256)) and not is_twice_as_wide((500, 256))


@pytest.mark.parametrize("level", [0, 128])
def test_an_empty_picture_is_no_panorama(level):
    assert not continues_around(np.full((256, 512, 3), level, np.uint8))


def test_marked_panoramas_are_left_out_and_the_remedy_is_named(tmp_path):
    for number in range(2):
        Image.fromarray(textured(number, around=False)).save(tmp_path / f"{number}.jpg", xmp=XMP)
    with pytest.raises(InputError, match="360° panorama: cut it into perspective views"):
        read_images(tmp_path, ImageOptions())


def test_unmarked_ones_are_used_with_a_warning(tmp_path):
    for number in range(2):
        Image.fromarray(textured(number, around=True)).save(tmp_path / f"{number}.jpg", quality=95)
    images = read_images(tmp_path, ImageOptions())
    assert len(images) == 2
    assert "0.jpg and 1 others look like 360° panoramas" in images.warnings[0]
