"""A COLMAP database of a model: what `colmap point_triangulator` and `colmap mapper` start from, COLMAP 3.8 to 4.x."""

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.colmap.camera_models import undistort
from dust3r_sfm.colmap.model import id_of_image
from dust3r_sfm.geometry.epipolar import fundamental_matrix, sampson_error
from dust3r_sfm.system._pycolmap import Database, Reconstruction
from dust3r_sfm.system.files import atomic_path, noticing_a_full_disk
from dust3r_sfm.tracks.keypoints import keypoint_rows, positions
from dust3r_sfm.types import Matches

_MAX_EPIPOLAR_ERROR_OF_SIDE = 0.004
"""Largest epipolar error of a verified match, as a share of the longer image side; chosen by hand, COLMAP's 4
pixels at 1000."""

_PRIOR_COLUMNS = ("prior_qw", "prior_qx", "prior_qy", "prior_qz", "prior_tx", "prior_ty", "prior_tz")
"""Columns of `images` that COLMAP up to 3.8 asks for and later versions neither write nor mind."""


def write_database(path: Path, reconstruction: Reconstruction, matches: Sequence[Matches]) -> None:
    """Write cameras, rigs, frames, images, keypoints, matches and verified matches of a model.

    Ids are those of the model, and the rows of an image's keypoints are its points2D in the same order. A match is
    written when both its ends are points2D of the model; it counts as verified (two_view_geometries) when it agrees
    with the model's epipolar geometry. Of matches that share a keypoint the one that agrees best is written.

    Args:
        path: the database file; replaced.
        reconstruction: the model; image ids are those of `colmap.model.id_of_image`.
        matches: correspondences between images of the model; those of images it lacks are left out.

    Raises:
        OutputError: when the disk is full or the folder cannot be written.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    with atomic_path(path) as temporary:
        try:
            with noticing_a_full_disk(path.parent):
                with contextlib.closing(pycolmap.Database.open(str(temporary))) as database:
                    _write_images(database, reconstruction)
                    _write_matches(database, reconstruction, matches)
                _finish_for_old_readers(temporary)
        finally:
            for side_file in (*_side_files(temporary), *_side_files(path)):
                side_file.unlink(missing_ok=True)


def _side_files(path: Path) -> list[Path]:
    """What SQLite keeps beside a database that is open or was not closed."""
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal")]


def _write_images(database: Database, reconstruction: Reconstruction) -> None:
    for camera in reconstruction.cameras.values():
        database.write_camera(camera, use_camera_id=True)
    for rig in reconstruction.rigs.values():
        database.write_rig(rig, use_rig_id=True)
    for frame in reconstruction.frames.values():
        database.write_frame(frame, use_frame_id=True)
    for image in reconstruction.images.values():
        database.write_image(image, use_image_id=True)


def _write_matches(database: Database, reconstruction: Reconstruction, matches: Sequence[Matches]) -> None:
    """Write the keypoints of all images, and the matches between them as pairs of keypoint rows."""
    keypoints = {image_id: positions(image.points2D) for image_id, image in reconstruction.images.items()}
    for image_id, xy in keypoints.items():
        database.write_keypoints(image_id, xy.astype(np.float32))
    for (id1, id2), (xy1, xy2) in _by_image_pair(matches).items():
        if id1 in keypoints and id2 in keypoints:
            rows = np.column_stack([keypoint_rows(keypoints[id1], xy1), keypoint_rows(keypoints[id2], xy2)])
            rows = np.unique(rows[np.all(rows >= 0, axis=1)], axis=0)
            _write_pair(database, reconstruction, (id1, id2), rows, keypoints)


def _by_image_pair(
    matches: Sequence[Matches],
) -> dict[tuple[int, int], tuple[Float64[np.ndarray, "_ 2"], Float64[np.ndarray, "_ 2"]]]:
    """Positions of all matches of two images, by their ids, the smaller first."""
    parts: dict[tuple[int, int], list[Float64[np.ndarray, "_ 4"]]] = {}
    for pair in matches:
        id1, id2 = id_of_image(pair.image1), id_of_image(pair.image2)
        if id1 < id2:
            parts.setdefault((id1, id2), []).append(np.hstack([pair.xy1, pair.xy2]))
        else:
            parts.setdefault((id2, id1), []).append(np.hstack([pair.xy2, pair.xy1]))
    joined = {ids: np.concatenate(blocks) for ids, blocks in sorted(parts.items())}
    return {ids: (block[:, :2], block[:, 2:]) for ids, block in joined.items()}


def _write_pair(
    database: Database,
    reconstruction: Reconstruction,
    ids: tuple[int, int],
    rows: Int64[np.ndarray, "m 2"],
    keypoints: dict[int, Float64[np.ndarray, "_ 2"]],
) -> None:
    from dust3r_sfm.system._pycolmap import pycolmap

    if len(rows) == 0:
        return
    image1, image2 = (reconstruction.images[image_id] for image_id in ids)
    cam2_from_cam1 = image2.cam_from_world() * image1.cam_from_world().inverse()
    camera1, camera2 = (reconstruction.cameras[image.camera_id] for image in (image1, image2))
    fundamental = fundamental_matrix(
        cam2_from_cam1.matrix(), camera1.calibration_matrix(), camera2.calibration_matrix()
    )
    undistorted = (
        undistort(camera, keypoints[image_id][rows[:, side]])
        for side, (image_id, camera) in enumerate(zip(ids, (camera1, camera2), strict=True))
    )
    error = sampson_error(fundamental, *undistorted)
    best = _one_to_one(rows, error)
    rows, error = rows[best], error[best]
    limit = _MAX_EPIPOLAR_ERROR_OF_SIDE * max(camera1.width, camera1.height, camera2.width, camera2.height)
    geometry = pycolmap.TwoViewGeometry()
    geometry.config = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
    geometry.E, geometry.F = pycolmap.essential_matrix_from_pose(cam2_from_cam1), fundamental
    geometry.cam2_from_cam1 = cam2_from_cam1
    geometry.inlier_matches = rows[error <= limit].astype(np.uint32)
    database.write_matches(*ids, rows.astype(np.uint32))
    database.write_two_view_geometry(*ids, geometry)


def _one_to_one(rows: Int64[np.ndarray, "m 2"], error: Float64[np.ndarray, " m"]) -> Int64[np.ndarray, " k"]:
    """Matches of which no two share a keypoint, the more precise first; COLMAP 3.8 warns of others."""
    kept = np.argsort(error, kind="stable")
    for side in (0, 1):
        kept = kept[np.sort(np.unique(rows[kept, side], return_index=True)[1])]
    return np.sort(kept)


def _finish_for_old_readers(path: Path) -> None:
    """Add the columns COLMAP 3.8 reads, and leave one file without a write-ahead log beside it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for column in _PRIOR_COLUMNS:
            connection.execute(f"ALTER TABLE images ADD COLUMN {column} REAL")
        connection.commit()
        connection.execute("PRAGMA journal_mode=DELETE")
