"""The flat table of points keeps its books, and robust triangulation finds who is wrong."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dust3r_sfm.tracks.cameras import posed_cameras
from dust3r_sfm.tracks.triangulation import Points, first_of_each, triangulate_robustly
from dust3r_sfm.types import Tracks


@pytest.fixture
def points(room: Any) -> Points:
    """Forty points near the far wall, each seen by all six images, exactly."""
    rng = np.random.default_rng(0)
    xyz = np.column_stack([rng.uniform(-1.0, 1.0, (40, 2)), rng.uniform(2.0, 4.0, 40)])
    track_of, image_of = np.repeat(np.arange(40), 6), np.tile(np.arange(6), 40)
    cameras = posed_cameras(room.scene)
    poses = cameras.cam_from_world[image_of]
    in_cameras = np.einsum("oij,oj->oi", poses[:, :, :3], xyz[track_of]) + poses[:, :, 3]
    projected = np.einsum("oij,oj->oi", cameras.matrices[image_of], in_cameras)
    xy = projected[:, :2] / projected[:, 2:]
    tracks = Tracks(xyz=xyz, rgb=np.zeros((40, 3), np.uint8), track_of=track_of, image_of=image_of, xy=xy)
    return Points(cameras=cameras, tracks=tracks, xy=xy)


def test_exact_points_have_no_error_and_are_found_again(points: Points) -> None:
    assert points.errors().max() < 1e-9
    found = triangulate_robustly(points.moved(np.full((40, 3), np.nan)), np.full(6, 0.01))
    assert np.abs(found.tracks.xyz - points.tracks.xyz).max() < 1e-9
    assert np.array_equal(found.track_of, points.track_of)


def test_points_behind_a_camera_have_infinite_error(points: Points) -> None:
    assert np.isinf(points.moved(points.tracks.xyz - [0.0, 0.0, 20.0]).errors()).all()


def test_the_wrong_observations_are_dropped_and_no_others(points: Points) -> None:
    xy = points.xy.copy()
    wrong = np.arange(0, 240, 6) + np.arange(40) % 6
    xy[wrong] += [9.0, 7.0]
    xy[wrong[:10] // 6 * 6 + (wrong[:10] + 3) % 6] -= [8.0, 11.0]
    found = triangulate_robustly(replace(points, xy=xy), np.full(6, 0.5))
    assert np.abs(found.tracks.xyz - points.tracks.xyz).max() < 1e-6
    assert found.lengths.tolist() == [4] * 10 + [5] * 30


def test_each_image_has_its_own_limit(points: Points) -> None:
    xy = points.xy.copy()
    xy[points.image_of == 2] += 0.5
    strict, lenient = np.full(6, 0.2), np.where(np.arange(6) == 2, 1.0, 0.2)
    assert 2 not in triangulate_robustly(replace(points, xy=xy), strict).image_of
    assert (triangulate_robustly(replace(points, xy=xy), lenient).image_of == 2).sum() == 40


def test_points_of_which_nobody_agrees_are_gone(points: Points) -> None:
    rng = np.random.default_rng(1)
    found = triangulate_robustly(replace(points, xy=points.xy + rng.normal(0, 40, points.xy.shape)), np.full(6, 0.1))
    assert len(found) < 15
    assert (found.errors() <= 0.1).all()


def test_selecting_and_joining_renumber(points: Points) -> None:
    even = points.select(np.arange(40) % 2 == 0)
    odd = points.select(np.arange(40) % 2 == 1)
    both = even.joined(odd)
    assert np.array_equal(both.tracks.xyz, np.concatenate([points.tracks.xyz[::2], points.tracks.xyz[1::2]]))
    assert both.errors().max() < 1e-9
    thinned = points.keep((points.track_of != 3) | (points.image_of == 0))
    assert len(thinned) == 39
    assert thinned.errors().max() < 1e-9


def test_largest_angle(points: Points) -> None:
    direction = points.directions().reshape(40, 6, 3)
    cosine = np.einsum("tad,tbd->tab", direction, direction)
    widest = np.degrees(np.arccos(np.clip(cosine, -1, 1))).max(axis=(1, 2))
    angles = points.largest_angles()
    assert (angles <= widest + 1e-9).all()
    assert (angles >= 0.9 * widest).all()


def test_first_of_each() -> None:
    assert first_of_each(np.array([2, 0, 2, 0]), np.array([1.0, 5.0, 0.5, 4.0])).tolist() == [3, 2]
    assert first_of_each(np.array([0, 0, 1, 1]), np.array([np.nan, 7.0, 3.0, 3.0])).tolist() == [1, 2]
