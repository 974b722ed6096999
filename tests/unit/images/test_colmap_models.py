"""COLMAP models of other programs: damaged ones end in a sentence, whatever is cut wherever."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.colmap_models import read_model
from dust3r_sfm.system._pycolmap import pycolmap

_CUTS = 40
"""Cuts that are tried of each file."""


@pytest.fixture
def model() -> pycolmap.Reconstruction:
    """Three images of one camera and one of a second camera on its rig, with twenty points that the three show."""
    model = pycolmap.Reconstruction()
    camera = pycolmap.Camera(model="SIMPLE_PINHOLE", width=640, height=480, params=[500.0, 320.0, 240.0], camera_id=1)
    model.add_camera_with_trivial_rig(camera)
    other = pycolmap.Camera(model="OPENCV", width=640, height=480, params=[500, 500, 320, 240, 0, 0, 0, 0], camera_id=2)
    model.add_camera(other)
    xyz = np.random.default_rng(0).uniform((-1, -1, 4), (1, 1, 6), (20, 3))
    for image_id in (1, 2, 3):
        shift = np.array([0.1 * image_id, 0.0, 0.0])
        seen = xyz + shift
        image = pycolmap.Image(f"IMG_{image_id}.jpg", 500 * seen[:, :2] / seen[:, 2:] + [320, 240], 1, image_id)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(np.column_stack([np.eye(3), shift])))
    for row, point in enumerate(xyz):
        elements = [pycolmap.TrackElement(image_id, row) for image_id in (1, 2, 3)]
        model.add_point3D(point, pycolmap.Track(elements), np.array([200, 100, 50], np.uint8))
    rig = pycolmap.Rig(rig_id=7)
    rig.add_ref_sensor(pycolmap.sensor_t(pycolmap.SensorType.CAMERA, 2))
    rig.add_sensor(pycolmap.sensor_t(pycolmap.SensorType.IMU, 1), pycolmap.Rigid3d())
    rig.add_sensor(pycolmap.sensor_t(pycolmap.SensorType.IMU, 2), None)
    model.add_rig(rig)
    return model


@pytest.fixture
def whole(model: pycolmap.Reconstruction, tmp_path: Path) -> Path:
    folder = tmp_path / "whole"
    folder.mkdir()
    model.write_binary(str(folder))
    return folder


def test_whole_models_are_read_with_rigs(whole: Path) -> None:
    read = read_model(whole)
    assert (read.num_images(), read.num_points3D(), read.num_rigs()) == (3, 20, 2)


@pytest.mark.parametrize("name", ["cameras", "rigs", "frames", "images", "points3D"])
def test_a_file_that_is_cut_anywhere_is_refused(whole: Path, name: str) -> None:
    path = whole / f"{name}.bin"
    content = path.read_bytes()
    random.seed(name)
    for length in {0, 7, 8, len(content) - 1, *(random.randrange(len(content)) for _ in range(_CUTS))}:
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="cannot be read"):
            read_model(whole)
    path.write_bytes(content + b"\0")
    with pytest.raises(InputError, match="damaged"):
        read_model(whole)


@pytest.mark.parametrize("focal", [0.0, -500.0, np.nan, np.inf])
def test_cameras_that_cannot_be_are_refused(model: pycolmap.Reconstruction, whole: Path, focal: float) -> None:
    model.cameras[1].params = [focal, 320.0, 240.0]
    model.write_binary(str(whole))
    with pytest.raises(InputError, match="camera 1"):
        read_model(whole)


@pytest.mark.parametrize("translation", [np.nan, np.inf, 1e300])
def test_poses_that_cannot_be_are_refused(model: pycolmap.Reconstruction, whole: Path, translation: float) -> None:
    model.images[1].frame.rig_from_world = pycolmap.Rigid3d(pycolmap.Rotation3d(), [translation, 0, 0])
    model.write_binary(str(whole))
    with pytest.raises(InputError, match=r"IMG_1\.jpg"):
        read_model(whole)


def test_points_and_names_that_cannot_be_are_refused(model: pycolmap.Reconstruction, whole: Path) -> None:
    model.points3D[1].xyz = [np.nan, 0, 0]
    model.write_binary(str(whole))
    with pytest.raises(InputError, match="not finite"):
        read_model(whole)
    model.points3D[1].xyz = [0, 0, 1]
    for name in ("../a.jpg", "a\x1b[31m.jpg", "a\nb.jpg"):
        model.images[1].name = name
        model.write_binary(str(whole))
        with pytest.raises(InputError, match="rename it"):
            read_model(whole)
    content = (whole / "images.bin").read_bytes()
    (whole / "images.bin").write_bytes(content.replace(b"IMG_2", b"IMG\xff2"))
    with pytest.raises(InputError):
        read_model(whole)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_text_models_may_have_byte_order_marks(model: pycolmap.Reconstruction, tmp_path: Path, encoding: str) -> None:
    model.write_text(str(tmp_path))
    for path in tmp_path.glob("*.txt"):
        path.write_bytes(path.read_text().replace("\n", "\r\n").encode(encoding))
    read = read_model(tmp_path)
    assert {image.name for image in read.images.values()} == {"IMG_1.jpg", "IMG_2.jpg", "IMG_3.jpg"}


def test_text_models_that_are_cut_are_read_or_refused(model: pycolmap.Reconstruction, tmp_path: Path) -> None:
    model.write_text(str(tmp_path))
    shutil.copytree(tmp_path, tmp_path / "cut")
    for path in sorted(tmp_path.glob("*.txt")):
        content = path.read_bytes()
        for share in (0.3, 0.6, 0.9):
            (tmp_path / "cut" / path.name).write_bytes(content[: int(share * len(content))])
            try:
                read_model(tmp_path / "cut")
            except InputError as error:
                assert error.path is not None
        (tmp_path / "cut" / path.name).write_bytes(content)
