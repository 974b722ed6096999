import numpy as np

from dust3r_sfm.geometry.pinhole import intrinsics, project, unproject
from dust3r_sfm.geometry.transforms import apply, centres, invert
from dust3r_sfm.synthetic.render import render, render_depth
from dust3r_sfm.synthetic.shots import plan_shots

SIZE = (160, 120)


def _cameras():
    shots = plan_shots(4, SIZE, np.random.default_rng(0))
    return [shot.cam_from_world for shot in shots], intrinsics(135.0, SIZE, (77.0, 63.0))


def test_depth_is_on_the_surfaces(world):
    """Every pixel's point satisfies the equation of one of the surfaces; the sky has no depth."""
    cameras, matrix = _cameras()
    for cam_from_world in cameras:
        depth = render_depth(world, cam_from_world, matrix, SIZE)
        xyz = apply(invert(cam_from_world), unproject(depth.astype(np.float64), matrix)[depth > 0])
        ball = np.abs(np.linalg.norm(xyz - [0.3, 0.1, 0.9], axis=-1) - 0.7)
        column = np.abs(np.linalg.norm(xyz[:, :2] - [-1.5, 1.0], axis=-1) - 0.4)
        wall = np.abs((xyz - [-4.5, 5, 4]) @ np.array([2.0, 9.0, 0.0]) / np.hypot(2, 9))
        distances = np.stack([np.abs(xyz[:, 2]), ball, column, wall])
        assert distances.min(axis=0).max() < 1e-4 / 5 * depth.max()
        assert 0.5 < (depth > 0).mean() < 1


def test_a_second_camera_sees_the_same_points(world):
    """Points of one depth map, projected into another camera: exactly its depth there, or hidden behind something."""
    cameras, matrix = _cameras()
    depth = render_depth(world, cameras[0], matrix, SIZE).astype(np.float64)
    xyz = apply(invert(cameras[0]), unproject(depth, matrix)[depth > 0])
    in_second = apply(cameras[1], xyz)
    xy = project(in_second, matrix)
    inside = ((xy > 0) & (xy < SIZE)).all(axis=-1)
    hits = world.trace(centres(cameras[1])[None], xyz[inside] - centres(cameras[1]))
    visible = hits.distance > 1 - 1e-4
    assert hits.distance.max() < 1 + 1e-4
    assert visible.mean() > 0.7


def test_the_centre_of_a_pixel_is_at_one_half(world):
    """Bright dots at known places on the ground appear where the pinhole model says, to a few hundredths of a pixel."""
    matrix = intrinsics(300.0, (320, 240), (163.0, 117.0))
    down = np.array([[1.0, 0, 0], [0, -1.0, 0], [0, 0, -1.0]])
    cam_from_world = np.concatenate([down, -down @ np.array([[3.2], [-3.1], [2.5]])], axis=1)
    picture = render(world, cam_from_world, matrix, (320, 240)).mean(axis=-1)
    grid = np.stack(np.meshgrid(np.arange(-4.0, 5), np.arange(-4.0, 5), [0.0]), axis=-1).reshape(-1, 3)
    expected = project(apply(cam_from_world, grid), matrix)
    expected = expected[((expected > 30) & (expected < (290, 210))).all(axis=-1)]
    assert len(expected) >= 2
    for x, y in expected:
        rows, columns = np.mgrid[int(y) - 25 : int(y) + 25, int(x) - 25 : int(x) + 25]
        weight = np.maximum(picture[rows, columns] - 40, 0)
        found = [(weight * (columns + 0.5)).sum() / weight.sum(), (weight * (rows + 0.5)).sum() / weight.sum()]
        np.testing.assert_allclose(found, [x, y], atol=0.03)


def test_tiles_do_not_show(world, monkeypatch):
    cameras, matrix = _cameras()
    whole = render_depth(world, cameras[2], matrix, SIZE)
    monkeypatch.setattr("dust3r_sfm.synthetic.render.TILE_PX", 37)
    np.testing.assert_allclose(render_depth(world, cameras[2], matrix, SIZE), whole, rtol=1e-6)


def test_edges_are_smooth(world):
    """With more rays a pixel, the picture converges."""
    cameras, matrix = _cameras()
    fine = render(world, cameras[0], matrix, SIZE, samples=6).astype(float)
    errors = [np.abs(render(world, cameras[0], matrix, SIZE, samples=n) - fine).mean() for n in (1, 2, 4)]
    assert errors[0] > errors[1] > errors[2]
