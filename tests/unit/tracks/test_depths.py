"""Aligned depth by raw pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dust3r_sfm.geometry import transforms
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.tracks.cameras import posed_cameras
from dust3r_sfm.tracks.depths import AlignedDepths


def test_depth_is_that_of_the_surface_behind_a_raw_pixel(room: Any) -> None:
    cameras, depths = posed_cameras(room.scene), AlignedDepths.of(room.scene)
    rng = np.random.default_rng(0)
    for index in range(6):
        xy = rng.uniform(0, 1, (200, 2)) * cameras.sizes[index]
        depth = depths.at(index, xy)
        rays = np.column_stack([cameras.on_plane(index, xy), np.ones(200)])
        world = transforms.apply(transforms.invert(cameras.cam_from_world[index]), rays * depth[:, None])
        assert np.median(np.abs(np.abs(world) - [3.0, 2.0, 4.0]).min(axis=1)) < 0.01
        assert depths.covers(index, xy).all()


def test_observations_are_looked_up_each_in_its_image(room: Any) -> None:
    depths = AlignedDepths.of(room.scene)
    rng = np.random.default_rng(1)
    image_of, xy = rng.integers(0, 6, 300), rng.uniform(0, 480, (300, 2))
    depth, confidence = depths.of_observations(image_of, xy)
    for index in range(6):
        assert np.array_equal(depth[image_of == index], depths.at(index, xy[image_of == index]))
    assert (confidence == 5.0).all()
    assert (depths.forgotten().of_observations(image_of, xy)[0] == 0).all()


def test_a_crop_does_not_cover_the_photograph(make_room: Callable[..., Any]) -> None:
    room = make_room([((640, 480), 1), ((640, 480), 6)], grid=Grid(size=64, square_crop=True))
    depths = AlignedDepths.of(room.scene)
    xy = np.array([[320.0, 240.0], [20.0, 240.0], [620.0, 240.0]])
    for index in range(2):
        assert depths.covers(index, xy).tolist() == [True, False, False]
        assert (depths.at(index, xy) > 0).all()
        assert depths.raw_per_network[index] == pytest.approx(480 / 64, rel=0.02)
