"""The rules of the programs that load `dense/sparse/0`, each as its reader states them."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.colmap.model import reconstruction_from_scene, write_model
from dust3r_sfm.dense.workspace import write_workspace
from dust3r_sfm.errors import InputError
from dust3r_sfm.types import Tracks

MODEL_PARAMETERS = {0: 3, 1: 4, 2: 4, 3: 5, 4: 8, 5: 8, 6: 12, 7: 5, 8: 4, 9: 5, 10: 12}
"""Camera model ids that the copies of read_write_model.py in hloc, 3DGS and nerfstudio know: number of parameters."""

SPLATTING_MODELS = {0, 1}
"""The original 3D Gaussian splatting loader takes SIMPLE_PINHOLE and PINHOLE alone."""


class Reader:
    """A cursor over a binary model file, as read_write_model.py walks it."""

    def __init__(self, path: Path) -> None:
        self.data, self.position = path.read_bytes(), 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.position)
        self.position += struct.calcsize("<" + layout)
        return values

    def name(self) -> str:
        end = self.data.index(b"\0", self.position)
        name = self.data[self.position : end].decode()
        self.position = end + 1
        return name

    def is_at_end(self) -> bool:
        return self.position == len(self.data)


@pytest.fixture
def dense(room: Any, room_tracks: Tracks, photos: Path, tmp_path: Path) -> Path:
    return write_workspace(tmp_path, reconstruction_from_scene(room.scene, room_tracks), photos)


def read_cameras(folder: Path) -> dict[int, tuple[int, int, int, tuple[float, ...]]]:
    reader = Reader(folder / "cameras.bin")
    cameras = {}
    for _ in range(reader.take("Q")[0]):
        camera_id, model, width, height = reader.take("IiQQ")
        cameras[camera_id] = (model, width, height, reader.take("d" * MODEL_PARAMETERS[model]))
    assert reader.is_at_end()
    return cameras


def read_images(folder: Path) -> dict[int, tuple[tuple[float, ...], int, str, np.ndarray, np.ndarray]]:
    reader = Reader(folder / "images.bin")
    images = {}
    for _ in range(reader.take("Q")[0]):
        image_id, *pose, camera_id = reader.take("IdddddddI")
        name, (count,) = reader.name(), reader.take("Q")
        rows = np.array(reader.take("ddq" * count)).reshape(count, 3)
        images[image_id] = (tuple(pose), camera_id, name, rows[:, :2], rows[:, 2].astype(int))
    assert reader.is_at_end()
    return images


def test_cameras_of_the_splatting_loaders(dense: Path) -> None:
    cameras = read_cameras(dense / "sparse" / "0")
    assert {model for model, *_ in cameras.values()} <= SPLATTING_MODELS
    for _, width, height, parameters in cameras.values():
        # 3DGS takes the field of view and ignores cx, cy.
        assert parameters[-2:] == (width / 2, height / 2)
    assert all(camera_id > 0 for camera_id in cameras)


def test_images_are_those_of_the_folder(dense: Path) -> None:
    cameras, images = read_cameras(dense / "sparse" / "0"), read_images(dense / "sparse" / "0")
    files = sorted(str(path.relative_to(dense / "images")) for path in (dense / "images").rglob("*") if path.is_file())
    assert sorted(name for _, _, name, _, _ in images.values()) == files  # gsplat pairs sorted file lists
    for pose, camera_id, name, _, _ in images.values():
        assert np.linalg.norm(pose[:4]) == pytest.approx(1)
        with Image.open(dense / "images" / name) as picture:
            assert picture.size == cameras[camera_id][1:3]
            assert picture.mode in ("RGB", "L")


def test_points_and_images_agree(dense: Path) -> None:
    images = read_images(dense / "sparse" / "0")
    reader = Reader(dense / "sparse" / "0" / "points3D.bin")
    (num_points,) = reader.take("Q")
    assert num_points > 0  # without points gsplat's normalisation and the splatting start have nothing
    for _ in range(num_points):
        point_id, *_rest, error, length = reader.take("QdddBBBdQ")
        assert 0 <= error < 10  # pixels; gsplat reads it
        for image_id, row in np.array(reader.take("II" * length)).reshape(length, 2):
            assert images[image_id][4][row] == point_id
    assert reader.is_at_end()


def test_no_text_files_that_loaders_would_prefer(dense: Path) -> None:
    # nerfstudio prefers cameras.txt but points3D.bin, so a stale text file would mix two models.
    assert not list(dense.rglob("cameras.txt")) + list(dense.rglob("images.txt")) + list(dense.rglob("points3D.*.ply"))


def test_text_models_hold_plain_names_only(
    make_room: Callable[..., Any], room: Any, room_tracks: Tracks, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="holds a blank"):
        write_model(reconstruction_from_scene(room.scene, room_tracks), tmp_path / "text", text=True)
    assert not (tmp_path / "text").exists()
    plain = make_room([((640, 480), 1)] * 2, names=["a.jpg", "b.jpg"])
    write_model(reconstruction_from_scene(plain.scene, plain.tracks()), tmp_path / "text", text=True)
    lines = [line for line in (tmp_path / "text" / "images.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line.split()[9] for line in lines[::2]] == ["a.jpg", "b.jpg"]
    assert (tmp_path / "text" / "cameras.txt").read_text().isascii()
