"""The workspace with our depth maps: true depths, in the model's units, that COLMAP's fusion takes as they are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.colmap.model import reconstruction_from_scene
from dust3r_sfm.dense.confirmation import PosedDepth, confirmed
from dust3r_sfm.dense.depth_maps import read_depth
from dust3r_sfm.dense.pointmaps import write_pointmaps
from dust3r_sfm.dense.workspace import write_workspace
from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.pinhole import rays
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import Tracks

HALF_SIZE = np.array([3.0, 2.0, 4.0])


@pytest.fixture
def out(room: Any, room_tracks: Tracks, photos: Path, tmp_path: Path) -> Path:
    """Both workspaces of the room; each image's depths in the scene are in units of their own."""
    model = reconstruction_from_scene(room.scene, room_tracks)
    write_workspace(tmp_path / "out", model, photos)
    depths = tuple(np.float32(1 + 0.1 * index) * depth for index, depth in enumerate(room.scene.depths))
    write_pointmaps(tmp_path / "out", model, replace(room.scene, depths=depths))
    return tmp_path / "out"


def wall_depth(image: Any) -> np.ndarray:
    """Exact z of the room's walls in an image of the workspace."""
    camera, cam_from_world = image.camera, image.cam_from_world().matrix()
    directions = rays(camera.height, camera.width, camera.calibration_matrix()) @ cam_from_world[:, :3]
    distance = (np.sign(directions) * HALF_SIZE - image.projection_center()) / directions
    return distance.min(axis=-1)


def test_depths_are_true_and_in_the_models_units(out: Path) -> None:
    model = pycolmap.Reconstruction(str(out / "dense_pointmaps" / "sparse"))
    assert model.num_images() == 6
    for image in model.images.values():
        depth = read_depth(out / "dense_pointmaps" / "stereo", image.name)
        assert depth.shape == (image.camera.height, image.camera.width)
        assert max(depth.shape) <= 192
        known = depth > 0
        assert known.mean() > 0.5
        error = np.abs(depth[known] / wall_depth(image)[known] - 1)
        assert np.median(error) < 1e-3
        assert np.percentile(error, 99) < 0.01
        with Image.open(out / "dense_pointmaps" / "images" / image.name) as picture:
            assert picture.size == depth.shape[::-1]
        assert image.camera.params[2:].tolist() == [image.camera.width / 2, image.camera.height / 2]


def test_fusion_at_default_options_gives_the_walls(out: Path, tmp_path: Path) -> None:
    fused = pycolmap.stereo_fusion(str(tmp_path / "fused.ply"), str(out / "dense_pointmaps"), output_type="PLY")
    assert fused.num_points3D() > 2000
    xyz = np.array([point.xyz for point in fused.points3D.values()])
    from_wall = np.abs(np.abs(xyz) - HALF_SIZE).min(axis=1)
    assert np.percentile(from_wall, 95) < 0.03


def test_the_model_is_the_same_at_the_lower_resolution(out: Path) -> None:
    large, small = (pycolmap.Reconstruction(str(out / name / "sparse")) for name in ("dense", "dense_pointmaps"))
    assert small.num_points3D() == large.num_points3D()
    scale = small.cameras[1].width / large.cameras[1].width
    ratio = small.compute_mean_reprojection_error() / large.compute_mean_reprojection_error()
    assert ratio == pytest.approx(scale, rel=0.05)
    assert not list((out / "dense" / "stereo").rglob("*.bin"))


def test_images_that_the_scene_lacks_have_no_maps(room: Any, room_tracks: Tracks, photos: Path, tmp_path: Path) -> None:
    model = reconstruction_from_scene(room.scene, room_tracks)
    write_workspace(tmp_path, model, photos)
    views = [replace(view, name="other.jpg") if view.name == "image 2.jpg" else view for view in room.views]
    workspace = write_pointmaps(tmp_path, model, replace(room.scene, views=tuple(views)))
    assert "image 2.jpg" not in (workspace / "stereo" / "fusion.cfg").read_text().splitlines()
    assert (workspace / "images" / "image 2.jpg").is_file()
    assert not (workspace / "stereo" / "depth_maps" / "image 2.jpg.geometric.bin").exists()


def test_pictures_of_another_size_are_named(room: Any, room_tracks: Tracks, photos: Path, tmp_path: Path) -> None:
    model = reconstruction_from_scene(room.scene, room_tracks)
    write_workspace(tmp_path, model, photos)
    Image.new("RGB", (64, 48)).save(tmp_path / "dense" / "images" / "image 1.jpg")
    with pytest.raises(InputError, match=r"image 1\.jpg has 64×48 pixels, its camera 640×480"):
        write_pointmaps(tmp_path, model, room.scene)
    assert not (tmp_path / "dense_pointmaps").exists()


def test_a_depth_that_others_contradict_is_not_confirmed(make_room: Callable[..., Any]) -> None:
    room = make_room([((640, 480), 1)] * 4)
    views = {
        str(index): PosedDepth(
            depth=depth.copy(), matrix=room.scene.intrinsics[index], cam_from_world=room.scene.cam_from_world[index]
        )
        for index, depth in enumerate(room.scene.depths)
    }
    views["1"].depth[40:60, 50:80] *= 1.2
    kept = confirmed(views, "1", ["0", "2", "3"])
    assert not kept[42:58, 52:78].any()
    assert kept[80:120, 60:140].mean() > 0.95
    assert np.array_equal(confirmed(views, "1", []), views["1"].depth > 0)
