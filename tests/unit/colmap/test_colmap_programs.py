"""COLMAP's own programs (any version that is installed, Debian's 3.8 included) accept what we write."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dust3r_sfm._pycolmap import pycolmap
from dust3r_sfm.colmap.database import write_database
from dust3r_sfm.colmap.model import reconstruction_from_scene, write_model
from dust3r_sfm.colmap.workspace import write_workspace
from dust3r_sfm.types import Matches, Tracks

pytestmark = pytest.mark.skipif(shutil.which("colmap") is None, reason="needs the colmap program")


@pytest.fixture
def out(room: Any, room_matches: list[Matches], room_tracks: Tracks, photos: Path, tmp_path: Path) -> Path:
    model = reconstruction_from_scene(room.scene, room_tracks, room_matches)
    out = tmp_path / "out"
    write_model(model, out / "sparse" / "0")
    write_database(out / "database.db", model, room_matches)
    write_workspace(out, model, photos)
    return out


def colmap(command: str, **options: Path) -> str:
    """Run one of COLMAP's programs without a display, and give what it prints."""
    arguments = [argument for name, value in options.items() for argument in (f"--{name}", str(value))]
    for name, value in options.items():
        if name == "output_path":
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
    assert "error" not in output.lower().replace("reprojection error", "")
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
