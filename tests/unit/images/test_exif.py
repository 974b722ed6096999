import math

import pytest
from PIL import ExifTags, Image

from dust3r_sfm.images.exif import Exif, exif_bytes, read_exif, read_gps
from dust3r_sfm.system._pycolmap import pycolmap


@pytest.fixture
def read(tmp_path, make_exif):
    def read(size=(400, 300), **tags):
        Image.new("RGB", size).save(tmp_path / "a.jpg", exif=make_exif(**tags))
        with Image.open(tmp_path / "a.jpg") as image:
            return read_exif(image, size)

    return read


def test_a_bare_file_says_nothing(read):
    assert read() == Exif(orientation=1, focal=None, camera=None)


@pytest.mark.parametrize("size", [(400, 300), (300, 400), (600, 400), (500, 500)])
def test_the_35_mm_equivalent_agrees_with_colmap(read, tmp_path, size):
    focal = read(size, FocalLengthIn35mmFilm=28, FocalLength=4.2).focal

    camera = pycolmap.infer_camera_from_image(tmp_path / "a.jpg")
    assert camera.has_prior_focal_length
    assert focal == pytest.approx(camera.focal_length, rel=1e-3)


def test_a_resized_photograph_keeps_its_angle_of_view(read):
    large, small = read((4000, 3000), FocalLengthIn35mmFilm=35).focal, read((400, 300), FocalLengthIn35mmFilm=35).focal
    assert large == pytest.approx(10 * small)
    assert math.degrees(2 * math.atan(math.hypot(4000, 3000) / 2 / large)) == pytest.approx(63.4, abs=0.1)


@pytest.mark.parametrize(("unit", "millimetres"), [(2, 25.4), (3, 10.0)])
def test_focal_plane_resolution_refers_to_the_picture_as_taken(read, unit, millimetres):
    # A 36 mm wide sensor of 6000 pixels behind a 50 mm lens; the file has been shrunk to 400 pixels.
    taken = {"ExifImageWidth": 6000, "ExifImageHeight": 4500, "FocalPlaneXResolution": 6000 / 36 * millimetres}
    focal = read((400, 300), FocalLength=50.0, FocalPlaneResolutionUnit=unit, **taken).focal
    assert focal == pytest.approx(400 * 50 / 36, rel=1e-4)


@pytest.mark.parametrize(
    "tags",
    [
        {"FocalLengthIn35mmFilm": 0},
        {"FocalLength": 0.0},
        {"FocalLength": 50.0},
        {"FocalLengthIn35mmFilm": 1},
        {"FocalLengthIn35mmFilm": 60000},
        {"FocalLength": 50.0, "FocalPlaneXResolution": 100.0, "FocalPlaneResolutionUnit": 9},
    ],
)
def test_nonsense_gives_no_focal_length(read, tags):
    assert read(**tags).focal is None


@pytest.mark.parametrize(("tag", "orientation"), [(0, 1), (9, 1), (1, 1), (6, 6)])
def test_orientation_is_one_of_eight(read, tag, orientation):
    assert read(Orientation=tag).orientation == orientation


def test_cameras_are_told_apart_by_make_model_and_focal_length(read):
    phone = {"Make": "Apple", "Model": "iPhone 12", "FocalLength": 4.2, "FocalLengthIn35mmFilm": 26}
    assert read(**phone).camera == read(**phone).camera
    assert read(**phone).camera != read(**phone | {"FocalLength": 1.5}).camera
    assert read(**phone).camera != read(**phone | {"Model": "iPhone 13"}).camera


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_damaged_block_is_no_obstacle(tmp_path):
    Image.new("RGB", (400, 300)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    with Image.open(tmp_path / "a.jpg") as image:
        assert read_exif(image, (400, 300)) == Exif()
        assert isinstance(exif_bytes(image), bytes)


def test_a_position_is_read_in_signed_degrees_and_metres(tmp_path):
    exif = Image.Exif()
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLatitude] = "S", (33.0, 51.0, 30.0)
    gps[ExifTags.GPS.GPSLongitudeRef], gps[ExifTags.GPS.GPSLongitude] = "W", (70.0, 30.0, 0.0)
    gps[ExifTags.GPS.GPSAltitudeRef], gps[ExifTags.GPS.GPSAltitude] = b"\x01", 12.5
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as image:
        assert read_gps(image) == pytest.approx((-(33 + 51.5 / 60), -70.5, -12.5))


def test_files_without_a_fix_have_no_position(tmp_path):
    exif = Image.Exif()
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLatitude] = "N", (0.0, 0.0, 0.0)
    gps[ExifTags.GPS.GPSLongitudeRef], gps[ExifTags.GPS.GPSLongitude] = "E", (0.0, 0.0, 0.0)
    Image.new("RGB", (64, 48)).save(tmp_path / "zero.jpg", exif=exif)
    Image.new("RGB", (64, 48)).save(tmp_path / "bare.jpg")
    for name in ("zero.jpg", "bare.jpg"):
        with Image.open(tmp_path / name) as image:
            assert read_gps(image) is None


def test_digital_zoom_tells_cameras_apart_and_is_no_focal_length(read):
    plain, zoomed, said = (
        read(Model="Phone", FocalLengthIn35mmFilm=26, **tags)
        for tags in ({}, {"DigitalZoomRatio": 1.7}, {"DigitalZoomRatio": 1.0})
    )
    assert zoomed.camera != plain.camera
    assert said.camera == plain.camera
    assert zoomed.focal == plain.focal
