"""The border to raw pixels: cameras of a scene, however its photographs are stored."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dust3r_sfm.colmap.model import reconstruction_from_scene
from dust3r_sfm.geometry import transforms
from dust3r_sfm.options import TrackOptions
from dust3r_sfm.tracks.build import (
    KEYPOINT_LIMITS,
    POINTMAP_LIMITS,
    ErrorLimits,
    build_tracks,
    triangulate_matches,
)
from dust3r_sfm.tracks.cameras import posed_cameras
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.types import Matches


def test_cameras_of_a_scene_are_the_raw_ones(room: Any) -> None:
    registered = np.arange(6) != 3
    cameras = posed_cameras(replace(room.scene, registered=registered))
    assert cameras.sizes.tolist() == [list(view.size) for view in room.views]
    np.testing.assert_allclose(cameras.cam_from_world, room.raw_cam_from_world, atol=1e-12)
    np.testing.assert_allclose(cameras.matrices[:, (0, 1), (0, 1)].T, [room.raw_focals] * 2, rtol=1e-12)
    np.testing.assert_allclose(cameras.matrices[:, :2, 2], cameras.sizes / 2, atol=1e-9)
    assert np.array_equal(cameras.posed, registered)


def test_a_point_is_seen_where_both_cameras_say(room: Any) -> None:
    cameras = posed_cameras(room.scene)
    point = np.array([[0.3, -0.2, 3.0]])
    first, second = (transforms.apply(cameras.cam_from_world[index], point) for index in (1, 4))
    np.testing.assert_allclose(transforms.apply(cameras.relative(1, 4), first), second, atol=1e-12)
    pixel = first[:, :2] / first[:, 2:] * cameras.matrices[1, 0, 0] + cameras.matrices[1, :2, 2]
    np.testing.assert_allclose(cameras.on_plane(1, pixel), first[:, :2] / first[:, 2:], atol=1e-12)


def test_distorted_pixels_are_triangulated_without_their_distortion(room: Any, room_matches: list[Matches]) -> None:
    cameras = posed_cameras(room.scene)

    def shifted(xy: np.ndarray) -> np.ndarray:
        return xy + np.array([3.0, -2.0])

    moved = [replace(pair, xy1=shifted(pair.xy1), xy2=shifted(pair.xy2)) for pair in room_matches]
    distorted = replace(cameras, undistort=lambda index, xy: xy - [3.0, -2.0])
    options, depths = TrackOptions(), AlignedDepths.of(room.scene)
    found = triangulate_matches(distorted, depths, moved, options)
    wanted = build_tracks(room.scene, room_matches, options)
    assert len(found.xyz) == pytest.approx(len(wanted.xyz), rel=0.05)
    to_wall = np.abs(np.abs(found.xyz) - [3.0, 2.0, 4.0]).min(axis=1)
    assert np.median(to_wall) < 1e-3
    assert np.isin(found.xy, np.concatenate([xy for pair in moved for xy in (pair.xy1, pair.xy2)])).all()


def test_a_limit_in_raw_pixels_counts_beside_that_in_network_pixels(room: Any, room_matches: list[Matches]) -> None:
    rng = np.random.default_rng(0)
    noisy = [replace(pair, xy1=pair.xy1 + rng.normal(0, 1.0, pair.xy1.shape)) for pair in room_matches]
    cameras, depths = posed_cameras(room.scene), AlignedDepths.of(room.scene)

    def errors(limits: ErrorLimits) -> np.ndarray:
        tracks = triangulate_matches(cameras, depths, noisy, TrackOptions(), None, limits)
        poses, matrices = cameras.cam_from_world[tracks.image_of], cameras.matrices[tracks.image_of]
        points = np.einsum("oij,oj->oi", poses[:, :, :3], tracks.xyz[tracks.track_of]) + poses[:, :, 3]
        pixels = np.einsum("oij,oj->oi", matrices, points)
        return np.linalg.norm(pixels[:, :2] / pixels[:, 2:] - tracks.xy, axis=1)

    assert 2.0 < errors(POINTMAP_LIMITS).max() <= 4.0 * depths.raw_per_network.max()
    assert 0.4 < errors(ErrorLimits(largest_raw_px=0.5)).max() <= 0.5


def test_keypoints_that_fit_worse_than_others_are_outliers(room: Any, room_matches: list[Matches]) -> None:
    rng = np.random.default_rng(0)

    def moved(pair: Matches) -> Matches:
        is_bad = rng.random(len(pair.xy1)) < 0.05
        noise = rng.normal(0, 0.05, pair.xy1.shape) + is_bad[:, None] * rng.normal(0, 1.5, pair.xy1.shape)
        return replace(pair, xy1=pair.xy1 + noise)

    cameras, depths = posed_cameras(room.scene), AlignedDepths.of(room.scene)
    matches = [moved(pair) for pair in room_matches]
    tracks = triangulate_matches(cameras, depths, matches, TrackOptions(), None, KEYPOINT_LIMITS)
    loose = triangulate_matches(cameras, depths, matches, TrackOptions(), None, POINTMAP_LIMITS)
    worst, worst_of_all = (
        max(point.error for point in reconstruction_from_scene(room.scene, found).points3D.values())
        for found in (tracks, loose)
    )
    assert worst < 0.3 < worst_of_all
    assert len(tracks.xyz) > 0.8 * len(loose.xyz)
