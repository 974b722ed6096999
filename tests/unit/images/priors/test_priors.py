"""Positions, gravity and control points as files and tables say them."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.priors.gravity import gravity_of
from dust3r_sfm.images.priors.read import priors_digest, with_priors
from dust3r_sfm.images.read import read_images
from dust3r_sfm.options import ImageOptions, KnownOptions
from dust3r_sfm.types import ImageSet

NAMES = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")


@pytest.fixture
def images(tmp_path) -> ImageSet:
    """Four photographs that say nothing."""
    for index, name in enumerate(NAMES):
        Image.new("RGB", (80, 60), (60 * index, 0, 0)).save(tmp_path / name)
    return read_images(tmp_path, ImageOptions())


def table(folder: Path, *lines: str) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    return path


def xmp(*properties: str) -> bytes:
    return f"<x:xmpmeta><rdf:Description {' '.join(properties)}></rdf:Description></x:xmpmeta>".encode()


def exif_gps(latitude: int, longitude: int) -> Image.Exif:
    exif, zero = Image.Exif(), Fraction(0)
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLongitudeRef] = "N", "E"
    gps[ExifTags.GPS.GPSLatitude] = (Fraction(latitude), zero, zero)
    gps[ExifTags.GPS.GPSLongitude] = (Fraction(longitude), zero, zero)
    return exif


def test_local_metres_with_accuracy(images, tmp_path):
    path = table(tmp_path, "name;x;y;z;accuracy_m", "a.jpg;691001;5334002;503;0.02", "b.jpg;691011;5334002;503;")
    priors = with_priors(images, KnownOptions(gps=path)).priors
    assert priors.origin is None and priors.offset == (691000.0, 5334000.0, 0.0)
    np.testing.assert_allclose(priors.positions.xyz[0] + priors.offset, [691001, 5334002, 503])
    assert priors.positions.sigmas[0].tolist() == [0.02] * 3 and priors.positions.sigmas[1, 0] > 1
    assert np.isnan(priors.positions.xyz[2:]).all()


def test_degrees_become_metres_east_north_up(images, tmp_path):
    lines = [f"{name},{48.13 + 0.001 * index},11.5,500" for index, name in enumerate(NAMES)]
    path = table(tmp_path, "name,lat,lon,alt", *lines)
    xyz = with_priors(images, KnownOptions(gps=path)).priors.positions.xyz
    np.testing.assert_allclose(np.diff(xyz[:, 1]), 111.2, atol=0.1)
    np.testing.assert_allclose(xyz[:, 0], 0, atol=1e-3)
    np.testing.assert_allclose(np.median(xyz, axis=0), 0, atol=0.1)


def test_zeros_and_strange_names_are_counted(images, tmp_path):
    path = table(tmp_path, "name,lat,lon,alt", "a.jpg,0,0,0", "b.jpg,48,11,1", "x.jpg,48,11,1", "y.jpg,48,11,1")
    found = with_priors(images, KnownOptions(gps=path))
    said = " ".join(found.warnings)
    assert "1 GPS positions are (0, 0)" in said and "a.jpg" in said
    assert "2 of 4 names" in said and "3 of 4 photographs have no position" in said
    assert np.isfinite(found.priors.positions.xyz).all(1).tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("a.jpg,1,2,3",), "first line of .* must name its columns"),
        (("name,lat,lon,alt", "a.jpg,north,11,1"), "Line 2 .* 'north' for lat"),
        (("name,lat,lon,alt", "a.jpg,48,11,1", "a.jpg,48,11,1"), "two positions for a.jpg, in lines 2 and 3"),
        (("name,lat,lon,alt", "a.jpg,91,11,1"), "not degrees"),
        (("name,x,y,z,accuracy_m", "a.jpg,1,2,3,0"), "above 0"),
        (("name,x,y,z", "a.jpg,1,2"), "3 cells"),
        (("name,x,y,z",), "holds no positions"),
        (("name,x,y,z", "x.jpg,1,2,3"), "no position for any"),
        (("name,x,y,z", "a.jpg,nan,2,3"), "not a number"),
    ],
)
def test_a_bad_table_ends_in_a_sentence(images, tmp_path, lines, words):
    with pytest.raises(InputError, match=words):
        with_priors(images, KnownOptions(gps=table(tmp_path, *lines)))


def test_a_missing_file_ends_in_a_sentence(images, tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        with_priors(images, KnownOptions(gps=tmp_path / "none.csv"))


def test_exif_and_xmp(tmp_path):
    """XMP has more digits; a receiver without a fix writes (0, 0)."""
    rtk = (
        'drone-dji:GpsLatitude="+48.1234567"',
        'drone-dji:GpsLongitude="+11.5"',
        'drone-dji:AbsoluteAltitude="+520.5"',
        'drone-dji:RtkStdLat="0.01"',
        'drone-dji:RtkStdLon="0.02"',
        'drone-dji:RtkStdHgt="0.03"',
        'drone-dji:GimbalPitchDegree="-90.0"',
        'drone-dji:GimbalRollDegree="+0.00"',
    )
    Image.new("RGB", (80, 60)).save(tmp_path / "a.jpg", exif=exif_gps(48, 11), xmp=xmp(*rtk))
    Image.new("RGB", (80, 60), "red").save(tmp_path / "b.jpg", exif=exif_gps(48, 11))
    Image.new("RGB", (80, 60), "blue").save(tmp_path / "c.jpg", exif=exif_gps(0, 0))
    images = read_images(tmp_path, ImageOptions())
    found = with_priors(images, KnownOptions(georegister=True))
    priors = found.priors
    assert any("(0, 0)" in sentence and "c.jpg" in sentence for sentence in found.warnings)
    assert priors.positions.sigmas[0].tolist() == [0.02, 0.01, 1000.0]  # b.jpg has no height, so none counts
    assert np.isfinite(priors.positions.xyz).all(1).tolist() == [True, True, False]
    assert priors.positions.xyz[0, 1] - priors.positions.xyz[1, 1] == pytest.approx(0.1234567 * 111_200, rel=1e-3)
    np.testing.assert_allclose(priors.gravity[0], [0, 0, 1], atol=1e-12)
    assert np.isnan(priors.gravity[1:]).all()
    assert with_priors(images, KnownOptions()).priors.positions is None
    assert with_priors(images, KnownOptions(upright=False)).priors.gravity is None


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"drone-dji:GimbalPitchDegree": "0", "drone-dji:GimbalRollDegree": "0"}, [0, 1, 0]),
        ({"drone-dji:GimbalPitchDegree": "-30"}, [0, np.sqrt(0.75), 0.5]),
        ({"GPano:PosePitchDegrees": "0", "GPano:PoseRollDegrees": "30"}, [0.5, np.sqrt(0.75), 0]),
        ({"drone-dji:GimbalPitchDegree": "0", "drone-dji:GimbalRollDegree": "180"}, None),
        ({"drone-dji:GimbalPitchDegree": "nonsense"}, None),
        ({}, None),
    ],
)
def test_gravity(tags, expected):
    found = gravity_of(tags)
    assert (found is None) if expected is None else np.allclose(found, expected)


CONTROL = "point,x,y,z,image,px,py"


def marks(*points: str) -> list[str]:
    return [f"{point},{ord(point)},{index},0,{name},10,20" for index, point in enumerate(points) for name in NAMES[:2]]


def test_control_points(images, tmp_path):
    path = table(tmp_path, CONTROL, *marks("A", "B", "C"), "D,9,9,9,a.jpg,1,1", "E,9,9,9,x.jpg,1,1")
    found = with_priors(images, KnownOptions(control_points=path))
    control = found.priors.control
    assert control.names == ("A", "B", "C") and control.image_of.tolist() == [0, 1] * 3
    assert control.xyz[1].tolist() == [66, 1, 0] and control.xy[0].tolist() == [10, 20]
    said = " ".join(found.warnings)
    assert "Control point D is left out: it is marked in 1 photograph" in said
    assert "Control point E is left out: it is marked in no photograph" in said
    assert "1 photographs that" in said and "x.jpg" in said


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (marks("A", "B"), "has 2 control points that two photographs show"),
        ([*marks("A", "B", "C"), "A,1,2,3,c.jpg,1,1"], "gives A another position"),
        ([*marks("A", "B", "C"), "A,65,0,0,a.jpg,30,30"], "a second time"),
        ([*marks("A", "B", "C"), "A,65,0,0,c.jpg,100,30"], "80 × 60 pixels"),
        ([*marks("A", "B", "C"), "A,65,0,0,c.jpg,left,30"], "'left' for px"),
    ],
)
def test_bad_control_points_end_in_a_sentence(images, tmp_path, lines, words):
    with pytest.raises(InputError, match=words):
        with_priors(images, KnownOptions(control_points=table(tmp_path, CONTROL, *lines)))


def test_frames_that_contradict_each_other(images, tmp_path):
    control = tmp_path / "control.csv"
    control.write_text("\n".join([CONTROL, *marks("A", "B", "C")]))
    gps = table(tmp_path, "name,lat,lon,alt", *(f"{name},48,11,1" for name in NAMES))
    with pytest.raises(InputError, match="another one"):
        with_priors(images, KnownOptions(control_points=control, gps=gps))
    with pytest.raises(InputError, match="--control-points and --scale-distance"):
        with_priors(images, KnownOptions(control_points=control, scale_distance=("a.jpg", "b.jpg", 1.0)))


def test_what_is_measured_counts_by_content(images, tmp_path):
    path = table(tmp_path, "name,x,y,z", "a.jpg,1,2,3")
    first = priors_digest(with_priors(images, KnownOptions(gps=path)))
    table(tmp_path, "name,x,y,z", "a.jpg,1,2,4")
    second = priors_digest(with_priors(images, KnownOptions(gps=path)))
    assert first != second and priors_digest(with_priors(images, KnownOptions())) == {}
