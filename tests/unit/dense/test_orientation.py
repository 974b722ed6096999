"""The orientation tag is reset in every container, and nothing else changes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from dust3r_sfm.dense.orientation import reset_orientation

PIXELS = np.random.default_rng(0).integers(0, 255, (24, 36, 3), dtype=np.uint8)


def save(path: Path, orientation: int | None, order: str = "little") -> None:
    exif = Image.Exif()
    exif.endian = "<" if order == "little" else ">"
    exif[0x010F] = "Maker"
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(path, exif=exif)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_the_tag_becomes_1_and_the_pixels_stay(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"photo{suffix}"
    save(path, orientation)
    before = np.frombuffer(path.read_bytes(), np.uint8)
    assert reset_orientation(path)
    with Image.open(path) as picture:
        assert picture.getexif()[0x0112] == 1
        assert picture.getexif()[0x010F] == "Maker"
        assert ImageOps.exif_transpose(picture).size == (36, 24)
    after = np.frombuffer(path.read_bytes(), np.uint8)
    assert np.count_nonzero(after != before) <= (
        5 if suffix == ".png" else 1
    )  # the tag, and the checksum of a PNG chunk
    assert not reset_orientation(path)


def test_big_endian_exif(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    save(path, 6, "big")
    assert b"MM\0*" in path.read_bytes()[:64]
    assert reset_orientation(path)
    assert Image.open(path).getexif()[0x0112] == 1


@pytest.mark.parametrize("orientation", [None, 1])
def test_files_without_a_turn_are_not_touched(tmp_path: Path, orientation: int | None) -> None:
    path = tmp_path / "photo.jpg"
    save(path, orientation)
    before = path.read_bytes()
    assert not reset_orientation(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("keep", [2, 6, 12, 20, 26, 34, 40])
def test_broken_files_are_left_alone(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "photo.jpg"
    save(path, 6)
    path.write_bytes(path.read_bytes()[:keep])
    before = path.read_bytes()
    reset_orientation(path)
    assert len(path.read_bytes()) == len(before)
