"""The database says the same as the model, and COLMAP's own programs start from it."""

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dust3r_sfm.colmap.database import write_database
from dust3r_sfm.colmap.model import reconstruction_from_scene
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import Matches, Tracks


@pytest.fixture(scope="module")
def model(room: Any, room_matches: list[Matches], room_tracks: Tracks) -> Any:
    return reconstruction_from_scene(room.scene, room_tracks, room_matches)


@pytest.fixture
def path(model: Any, room_matches: list[Matches], tmp_path: Path) -> Path:
    write_database(tmp_path / "database.db", model, room_matches)
    return tmp_path / "database.db"


def test_ids_names_and_cameras_are_the_model_s(model: Any, path: Path) -> None:
    with pycolmap.Database.open(str(path)) as database:
        assert {image.image_id: image.name for image in database.read_all_images()} == {
            image_id: image.name for image_id, image in model.images.items()
        }
        for camera in database.read_all_cameras():
            assert camera.params.tolist() == model.cameras[camera.camera_id].params.tolist()
        assert len(database.read_all_frames()) == len(model.frames)
        assert len(database.read_all_rigs()) == len(model.rigs)


def test_keypoint_rows_are_the_points2d(model: Any, path: Path) -> None:
    with pycolmap.Database.open(str(path)) as database:
        for image_id, image in model.images.items():
            xy = np.array([point.xy for point in image.points2D], np.float32)
            assert np.array_equal(database.read_keypoints(image_id)[:, :2], xy)


def test_every_match_is_there_and_its_ends_are_right(model: Any, path: Path, room_matches: list[Matches]) -> None:
    with pycolmap.Database.open(str(path)) as database:
        assert database.num_matches() == sum(len(pair.xy1) for pair in room_matches)
        pair = room_matches[7]
        rows = database.read_matches(pair.image1 + 1, pair.image2 + 1)
        xy1 = np.array([model.images[pair.image1 + 1].points2D[int(row)].xy for row in rows[:, 0]])
        xy2 = np.array([model.images[pair.image2 + 1].points2D[int(row)].xy for row in rows[:, 1]])
        written = {tuple(row) for row in np.hstack([xy1, xy2])}
        assert written == {tuple(row) for row in np.hstack([pair.xy1, pair.xy2])}


def test_verified_matches_leave_outliers_out(model: Any, room_matches: list[Matches], tmp_path: Path) -> None:
    pair = room_matches[0]
    shuffled = replace(pair, xy2=np.roll(pair.xy2, len(pair.xy2) // 2, axis=0))
    write_database(tmp_path / "database.db", model, [shuffled, *room_matches[1:]])
    with pycolmap.Database.open(str(tmp_path / "database.db")) as database:
        verified = database.read_two_view_geometry(1, 2)
        assert len(database.read_matches(1, 2)) == len(pair.xy1)
        assert len(verified.inlier_matches) < 0.3 * len(pair.xy1)
        assert len(database.read_two_view_geometry(1, 3).inlier_matches) == len(room_matches[1].xy1)
        assert verified.config == pycolmap.TwoViewGeometryConfiguration.CALIBRATED
        expected = model.images[2].cam_from_world() * model.images[1].cam_from_world().inverse()
        assert np.abs(verified.cam2_from_cam1.matrix() - expected.matrix()).max() < 1e-12


def test_no_two_matches_share_a_keypoint(model: Any, room_matches: list[Matches], tmp_path: Path) -> None:
    pair = room_matches[0]
    wrong = replace(pair, xy2=np.roll(pair.xy2, 5, axis=0))
    write_database(tmp_path / "database.db", model, [wrong, pair])
    with pycolmap.Database.open(str(tmp_path / "database.db")) as database:
        rows = database.read_matches(pair.image1 + 1, pair.image2 + 1)
        assert all(len(np.unique(column)) == len(rows) for column in rows.T)
        verified = database.read_two_view_geometry(pair.image1 + 1, pair.image2 + 1).inlier_matches
        assert len(verified) == len(pair.xy1)


def test_both_directions_of_a_pair_are_one(model: Any, room_matches: list[Matches], tmp_path: Path) -> None:
    pair = room_matches[0]
    mirrored = replace(pair, image1=pair.image2, image2=pair.image1, xy1=pair.xy2, xy2=pair.xy1)
    write_database(tmp_path / "database.db", model, [pair, mirrored])
    with pycolmap.Database.open(str(tmp_path / "database.db")) as database:
        assert database.num_matches() == len(pair.xy1)


def test_matches_the_model_does_not_list_are_left_out(room: Any, room_matches: list[Matches], tmp_path: Path) -> None:
    tracks = room.tracks(room_matches[:1])
    model = reconstruction_from_scene(room.scene, tracks)
    write_database(tmp_path / "database.db", model, room_matches)
    with pycolmap.Database.open(str(tmp_path / "database.db")) as database:
        assert database.num_keypoints() == len(tracks.xy)
        assert len(tracks.xyz) <= database.num_matches() < 2 * len(tracks.xyz)


def test_it_is_one_file_that_replaces_the_old_one(model: Any, path: Path) -> None:
    assert [entry.name for entry in path.parent.iterdir()] == ["database.db"]
    (path.parent / "database.db-wal").write_bytes(b"stale")
    write_database(path, model, [])
    assert [entry.name for entry in path.parent.iterdir()] == ["database.db"]
    with pycolmap.Database.open(str(path)) as database:
        assert database.num_matches() == 0


def test_old_readers_find_their_columns(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(images)")]
    assert columns[:3] == ["image_id", "name", "camera_id"]
    assert columns[3:] == ["prior_qw", "prior_qx", "prior_qy", "prior_qz", "prior_tx", "prior_ty", "prior_tz"]


def test_pycolmap_triangulates_from_it(model: Any, path: Path, photos: Path) -> None:
    output = path.parent / "triangulated"
    output.mkdir()
    points = pycolmap.triangulate_points(pycolmap.Reconstruction(model), str(path), str(photos), str(output))
    assert points.num_points3D() > 1000
    assert points.compute_mean_reprojection_error() < 0.3


def test_pycolmap_maps_from_it(path: Path, photos: Path) -> None:
    output = path.parent / "mapped"
    output.mkdir()
    options = pycolmap.IncrementalPipelineOptions(ba_refine_focal_length=False, num_threads=1)
    models = pycolmap.incremental_mapping(str(path), str(photos), str(output), options)
    assert max(model.num_reg_images() for model in models.values()) == 6
