"""Between triangulated points of a plane, depths are those of the plane."""

import numpy as np

from dust3r_sfm.tracks.cameras import PosedCameras
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.tracks.sparse_depths import interpolated_depths
from dust3r_sfm.types import Tracks

SIZE = (640, 480)
MATRIX = np.array([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]])


def cameras(count: int) -> PosedCameras:
    return PosedCameras(
        sizes=np.tile(SIZE, (count, 1)),
        matrices=np.tile(MATRIX, (count, 1, 1)),
        cam_from_world=np.tile(np.eye(3, 4), (count, 1, 1)),
        posed=np.ones(count, bool),
    )


def empty(count: int) -> AlignedDepths:
    return AlignedDepths(
        depths=tuple(np.zeros((240, 320), np.float32) for _ in range(count)),
        confidences=tuple(np.ones((240, 320), np.float32) for _ in range(count)),
        network_from_image=np.tile(np.diag([0.5, 0.5, 1.0]), (count, 1, 1)),
    )


def tracks(count: int, images: tuple[int, ...]) -> Tracks:
    """Points of the plane z = 4 + x."""
    rays = np.random.default_rng(0).uniform((-0.6, -0.45), (0.6, 0.45), (count, 2))
    z = 4.0 / (1.0 - rays[:, 0])
    xyz = np.column_stack([rays * z[:, None], z])
    xy = rays * 500 + (320, 240)
    return Tracks(
        xyz=xyz,
        rgb=np.zeros((count, 3), np.uint8),
        track_of=np.repeat(np.arange(count), len(images)),
        image_of=np.tile(images, count).astype(np.int64),
        xy=np.repeat(xy, len(images), axis=0),
    )


def test_depths_follow_the_points():
    depths = interpolated_depths(cameras(2), empty(2), tracks(2000, (0, 1)))
    columns = (np.arange(320) + 0.5) * 2
    expected = 4.0 / (1.0 - (columns - 320) / 500)
    for depth in depths.depths:
        inner = np.s_[20:220, 30:290]
        assert np.abs(depth / expected - 1.0)[inner].max() < 0.1
        assert np.median(np.abs(depth / expected - 1.0)[inner]) < 0.02


def test_images_that_see_too_little_have_no_depth():
    first, second = interpolated_depths(cameras(2), empty(2), tracks(9, (0, 1))).depths
    assert not first.any()
    assert not second.any()
