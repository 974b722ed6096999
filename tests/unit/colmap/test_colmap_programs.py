"""COLMAP's own programs (any version that is installed, Debian's 3.8 included) accept what we write."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dust3r_sfm.colmap.database import write_database
from dust3r_sfm.colmap.model import reconstruction_from_scene, write_model
from dust3r_sfm.dense.pointmaps import write_pointmaps
from dust3r_sfm.dense.workspace import write_workspace
from dust3r_sfm.formats.ply import read_ply
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import Matches, Tracks

HALF_SIZE = np.array([3.0, 2.0, 4.0])

pytestmark = pytest.mark.skipif(shutil.which("colmap") is None, reason="needs the colmap program")


@pytest.fixture
def out(room: Any, room_matches: list[Matches], room_tracks: Tracks, photos: Path, tmp_path: Path) -> Path:
    model = reconstruction_from_scene(room.scene, room_tracks, room_matches)
    out = tmp_path / "out"
    write_model(model, out / "sparse" / "0")
    write_database(out / "database.db", model, room_matches)
    write_workspace(out, model, photos)
    write_pointmaps(out, model, room.scene)
    return out


def colmap(command: str, **options: Path) -> str:
    """Run one of COLMAP's programs without a display, and give what it prints."""
    arguments = [argument for name, value in options.items() for argument in (f"--{name}", str(value))]
    for name, value in options.items():
        if name == "output_path" and not value.suffix:
            value.mkdir(exist_ok=True)
    done = subprocess.run(
        ["colmap", command, *arguments],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-2000:]
    assert "error" not in re.sub(r"reprojection error|max_\w+_error", "", output.lower())
    return output


def test_model_analyzer(out: Path, room_tracks: Tracks) -> None:
    printed = colmap("model_analyzer", path=out / "sparse" / "0")
    assert f"Points: {len(room_tracks.xyz)}" in printed
    assert f"Observations: {len(room_tracks.xy)}" in printed
    assert "Registered images: 6" in printed


def test_image_undistorter(out: Path, photos: Path, tmp_path: Path) -> None:
    colmap("image_undistorter", image_path=photos, input_path=out / "sparse" / "0", output_path=tmp_path / "u")
    assert len(list((tmp_path / "u" / "images").iterdir())) == 6


def test_point_triangulator(out: Path, photos: Path, tmp_path: Path) -> None:
    colmap(
        "point_triangulator",
        database_path=out / "database.db",
        image_path=photos,
        input_path=out / "sparse" / "0",
        output_path=tmp_path / "t",
    )
    points = pycolmap.Reconstruction(str(tmp_path / "t"))
    assert points.num_points3D() > 1000
    assert points.compute_mean_reprojection_error() < 0.3


def test_mapper(out: Path, photos: Path, tmp_path: Path) -> None:
    colmap("mapper", database_path=out / "database.db", image_path=photos, output_path=tmp_path / "m")
    assert pycolmap.Reconstruction(str(tmp_path / "m" / "0")).num_reg_images() == 6


def test_the_dense_workspace_is_a_model_too(out: Path) -> None:
    assert "Registered images: 6" in colmap("model_analyzer", path=out / "dense" / "sparse")


def test_bundle_adjuster(out: Path, tmp_path: Path) -> None:
    before = pycolmap.Reconstruction(str(out / "sparse" / "0"))
    colmap("bundle_adjuster", input_path=out / "sparse" / "0", output_path=tmp_path / "b")
    adjusted = pycolmap.Reconstruction(str(tmp_path / "b"))
    assert adjusted.num_reg_images() == 6
    assert adjusted.compute_mean_reprojection_error() <= before.compute_mean_reprojection_error() + 0.01


def test_stereo_fusion_takes_the_depth_maps_at_its_defaults(out: Path, tmp_path: Path) -> None:
    cloud = tmp_path / "fused.ply"
    colmap("stereo_fusion", workspace_path=out / "dense_pointmaps", output_path=cloud)
    xyz = read_ply(cloud).xyz
    assert len(xyz) > 2000
    from_wall = np.abs(np.abs(xyz) - HALF_SIZE).min(axis=1)
    assert np.percentile(from_wall, 95) < 0.03


def test_image_undistorter_keeps_an_undistorted_workspace(out: Path, tmp_path: Path) -> None:
    dense = out / "dense"
    colmap(
        "image_undistorter", image_path=dense / "images", input_path=dense / "sparse", output_path=tmp_path / "again"
    )
    before, after = (pycolmap.Reconstruction(str(folder / "sparse")) for folder in (dense, tmp_path / "again"))
    for camera_id, camera in before.cameras.items():
        assert after.cameras[camera_id].params.tolist() == camera.params.tolist()
