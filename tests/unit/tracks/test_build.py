"""Tracks of exact matches are exact; tracks of spoilt ones hold only what agrees."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dust3r_sfm.geometry import transforms
from dust3r_sfm.options import TrackOptions
from dust3r_sfm.types import Matches, Scene, Tracks


def reprojections(scene: Scene, tracks: Tracks) -> tuple[np.ndarray, np.ndarray]:
    """Reprojection error in network pixels and depth of each observation."""
    affine = scene.network_from_image[tracks.image_of, :2]
    xy = np.einsum("oij,oj->oi", affine[:, :, :2], tracks.xy) + affine[:, :, 2]
    poses = scene.cam_from_world[tracks.image_of]
    points = np.einsum("oij,oj->oi", poses[:, :, :3], tracks.xyz[tracks.track_of]) + poses[:, :, 3]
    pixels = np.einsum("oij,oj->oi", scene.intrinsics[tracks.image_of], points)
    return np.linalg.norm(pixels[:, :2] / pixels[:, 2:] - xy, axis=1), points[:, 2]


def assert_sound(scene: Scene, tracks: Tracks, max_error: float) -> None:
    """What holds for every table of tracks."""
    error, depth = reprojections(scene, tracks)
    assert (error <= max_error).all()
    assert (depth > 0).all()
    assert len(np.unique(np.column_stack([tracks.track_of, tracks.image_of]), axis=0)) == len(tracks.track_of)
    assert (np.bincount(tracks.track_of, minlength=len(tracks.xyz)) >= 2).all()
    assert (np.diff(tracks.track_of) >= 0).all()
    assert scene.registered[tracks.image_of].all()
    keypoints = np.column_stack([tracks.image_of, tracks.xy])
    assert len(np.unique(keypoints, axis=0)) == len(keypoints)


def test_exact_matches_give_exact_points_on_the_walls(room: Any, room_tracks: Tracks) -> None:
    assert_sound(room.scene, room_tracks, 0.3)
    assert len(room_tracks.xyz) > 1500
    to_wall = np.abs(np.abs(room_tracks.xyz) - [3.0, 2.0, 4.0]).min(axis=1)
    assert np.percentile(to_wall, 99) < 0.02
    assert np.median(to_wall) < 1e-3


def test_tracks_grow_over_many_images(room_tracks: Tracks) -> None:
    lengths = np.bincount(room_tracks.track_of)
    assert lengths.mean() > 4
    assert (lengths == 6).sum() > 500


def test_colour_is_the_mean_over_the_observing_images(room: Any, room_tracks: Tracks) -> None:
    lengths = np.bincount(room_tracks.track_of)
    grey = np.bincount(room_tracks.track_of, weights=10.0 * room_tracks.image_of) / lengths
    assert np.array_equal(room_tracks.rgb, np.repeat(np.round(grey)[:, None], 3, axis=1))


def spoilt(matches: list[Matches], share: float, seed: int) -> list[Matches]:
    """Matches of which a share leads to another match's position."""
    rng = np.random.default_rng(seed)
    result = []
    for pair in matches:
        bad = np.flatnonzero(rng.random(len(pair.xy2)) < share)
        xy2 = pair.xy2.copy()
        xy2[bad] = xy2[rng.permutation(bad)]
        result.append(replace(pair, xy2=xy2))
    return result


@pytest.mark.parametrize("seed", range(3))
def test_outliers_and_noise_leave_sound_tracks(room: Any, room_matches: list[Matches], seed: int) -> None:
    rng = np.random.default_rng(seed)
    noisy = [
        replace(pair, xy2=pair.xy2 + rng.normal(0, 1.0, pair.xy2.shape)) for pair in spoilt(room_matches, 0.3, seed)
    ]
    options = TrackOptions(max_reprojection_error=1.5)
    tracks = room.tracks(noisy, options)
    assert_sound(room.scene, tracks, 1.5)
    to_wall = np.abs(np.abs(tracks.xyz) - [3.0, 2.0, 4.0]).min(axis=1)
    assert len(tracks.xyz) > 1500
    assert np.percentile(to_wall, 95) < 0.35


def test_images_that_are_not_registered_are_left_out(room: Any, room_matches: list[Matches]) -> None:
    registered = np.array([True, True, False, True, True, True])
    absent = replace(room, scene=replace(room.scene, registered=registered))
    tracks = absent.tracks(room_matches)
    assert_sound(absent.scene, tracks, 0.3)
    assert set(np.unique(tracks.image_of)) == {0, 1, 3, 4, 5}


def test_a_wrong_depth_removes_the_points_it_contradicts(room: Any, room_matches: list[Matches]) -> None:
    deeper = replace(room, scene=replace(room.scene, depths=tuple(4.0 * depth for depth in room.scene.depths)))
    assert len(deeper.tracks(room_matches).xyz) < 0.1 * len(room.tracks(room_matches).xyz)


def test_a_factor_of_all_depths_removes_nothing(room: Any, room_matches: list[Matches]) -> None:
    """As where photographs look straight at a plane, and another focal length came with another distance."""
    deeper = replace(room, scene=replace(room.scene, depths=tuple(1.7 * depth for depth in room.scene.depths)))
    assert len(deeper.tracks(room_matches).xyz) > 0.97 * len(room.tracks(room_matches).xyz)


def test_unknown_depth_contradicts_nothing(room: Any, room_matches: list[Matches], room_tracks: Tracks) -> None:
    blind = replace(room, scene=replace(room.scene, depths=tuple(0.0 * depth for depth in room.scene.depths)))
    assert len(blind.tracks(room_matches).xyz) >= len(room_tracks.xyz)


def test_cameras_that_only_turn_still_have_points_at_the_aligned_depth(make_room: Callable[..., Any]) -> None:
    turning = make_room(step=0.0)
    tracks = turning.tracks()
    assert_sound(turning.scene, tracks, TrackOptions().max_reprojection_error)
    assert np.bincount(tracks.image_of, minlength=6).min() > 100
    assert np.percentile(np.abs(np.abs(tracks.xyz) - [3.0, 2.0, 4.0]).min(axis=1), 95) < 0.1


def test_points_at_small_angles_are_only_for_images_without_others(room: Any, room_tracks: Tracks) -> None:
    centres = transforms.centres(room.scene.cam_from_world)[room_tracks.image_of]
    rays = room_tracks.xyz[room_tracks.track_of] - centres
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    mean = np.zeros_like(room_tracks.xyz)
    np.add.at(mean, room_tracks.track_of, rays)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    from_mean = np.degrees(np.arccos(np.clip(np.sum(rays * mean[room_tracks.track_of], axis=1), -1, 1)))
    widest = np.zeros(len(room_tracks.xyz))
    np.maximum.at(widest, room_tracks.track_of, from_mean)
    assert widest.min() > 0.7


def test_a_limit_keeps_long_tracks_spread_over_the_images(room: Any, room_matches: list[Matches]) -> None:
    some = room.tracks(room_matches, TrackOptions(max_points=300))
    assert len(some.xyz) == 300
    assert_sound(room.scene, some, 0.3)
    assert np.bincount(some.track_of).mean() > np.bincount(room.tracks(room_matches).track_of).mean()
    assert np.bincount(some.image_of, minlength=6).min() > 50


def test_no_matches_give_no_tracks(room: Any) -> None:
    tracks = room.tracks([])
    assert tracks.xyz.shape == (0, 3)
    assert tracks.rgb.shape == (0, 3)


def test_the_older_path_leads_here() -> None:
    from dust3r_sfm.colmap.tracks import build_tracks as older
    from dust3r_sfm.tracks.build import build_tracks

    assert older is build_tracks
