"""Depth maps follow the points of the model: in scale, in tilt, and without being torn by wrong points."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dust3r_sfm.colmap.model import reconstruction_from_scene
from dust3r_sfm.dense.rescale import corrected_depths
from dust3r_sfm.geometry.pinhole import pixel_grid
from dust3r_sfm.types import Scene, Tracks


def errors(scene: Scene, corrected: dict[str, np.ndarray]) -> np.ndarray:
    """Median relative error of each image."""
    pairs = zip(scene.names, scene.depths, strict=True)
    return np.array([np.median(np.abs(corrected[name] / depth - 1)) for name, depth in pairs])


def test_a_scale_and_a_tilt_are_undone(room: Any, room_tracks: Tracks) -> None:
    model = reconstruction_from_scene(room.scene, room_tracks)
    rng = np.random.default_rng(0)
    bent = {}
    for name, depth in zip(room.scene.names, room.scene.depths, strict=True):
        slope = rng.uniform(-0.1, 0.1, 2)
        bend = (pixel_grid(*depth.shape) / max(depth.shape) - 0.5) @ slope + rng.uniform(-0.5, 0.5)
        bent[name] = (depth ** rng.uniform(0.97, 1.03) * np.exp(bend)).astype(np.float32)
    assert errors(room.scene, bent).max() > 0.1
    assert errors(room.scene, corrected_depths(model, room.scene, bent)).max() < 0.01


def test_true_depths_stay_in_spite_of_wrong_points(room: Any, room_tracks: Tracks) -> None:
    wrong = np.random.default_rng(0).random(len(room_tracks.xyz)) < 0.2
    xyz = np.where(wrong[:, None], 1.5 * room_tracks.xyz, room_tracks.xyz)
    model = reconstruction_from_scene(room.scene, replace(room_tracks, xyz=xyz))
    depths = dict(zip(room.scene.names, room.scene.depths, strict=True))
    assert errors(room.scene, corrected_depths(model, room.scene, depths)).max() < 0.01


def test_an_image_without_points_takes_the_scale_of_the_others(room: Any, room_tracks: Tracks) -> None:
    others = room_tracks.image_of != 3
    kept = np.isin(room_tracks.track_of, np.flatnonzero(np.bincount(room_tracks.track_of[others]) >= 2)) & others
    ids, track_of = np.unique(room_tracks.track_of[kept], return_inverse=True)
    tracks = Tracks(
        xyz=room_tracks.xyz[ids],
        rgb=room_tracks.rgb[ids],
        track_of=track_of.ravel().astype(np.int64),
        image_of=room_tracks.image_of[kept],
        xy=room_tracks.xy[kept],
    )
    model = reconstruction_from_scene(room.scene, tracks)
    halved = {name: depth / 2 for name, depth in zip(room.scene.names, room.scene.depths, strict=True)}
    corrected = corrected_depths(model, room.scene, halved)
    assert np.median(corrected["image 3.jpg"] / room.scene.depths[3]) == pytest.approx(1, rel=0.01)


def test_without_any_point_depths_stay(room: Any, room_tracks: Tracks) -> None:
    empty = replace(
        room_tracks,
        xyz=np.zeros((0, 3)),
        rgb=np.zeros((0, 3), np.uint8),
        track_of=np.zeros(0, np.int64),
        image_of=np.zeros(0, np.int64),
        xy=np.zeros((0, 2)),
    )
    depths = dict(zip(room.scene.names, room.scene.depths, strict=True))
    corrected = corrected_depths(reconstruction_from_scene(room.scene, empty), room.scene, depths)
    assert all(np.array_equal(corrected[name], depth) for name, depth in depths.items())
