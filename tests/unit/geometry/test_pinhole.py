import numpy as np

from dust3r_sfm.geometry.pinhole import intrinsics, pixel_grid, project, rays, triangulate, unproject
from dust3r_sfm.geometry.transforms import apply, rotation_exp


def test_the_first_pixel_centre_is_one_half():
    grid = pixel_grid(3, 4)
    assert grid.shape == (3, 4, 2)
    np.testing.assert_array_equal(grid[0, 0], [0.5, 0.5])
    np.testing.assert_array_equal(grid[2, 3], [3.5, 2.5])
    np.testing.assert_allclose(grid.mean((0, 1)), [2, 1.5])


def test_projecting_what_was_unprojected_gives_the_pixels_back():
    rng = np.random.default_rng(0)
    matrix = intrinsics(50.0, (40, 30), (21.0, 13.5))
    depth = rng.uniform(1, 5, (30, 40))
    points = unproject(depth, matrix)
    np.testing.assert_allclose(points[..., 2], depth)
    np.testing.assert_allclose(project(points, matrix), pixel_grid(30, 40), atol=1e-10)
    np.testing.assert_allclose(rays(30, 40, matrix) * depth[..., None], points)


def test_points_behind_the_camera_project_to_nan():
    matrix = intrinsics(50.0, (40, 30))
    np.testing.assert_array_equal(project(np.array([[0.0, 0, 2]]), matrix), [[20.0, 15.0]])
    assert np.isnan(project(np.array([[1.0, 1, -2], [1, 1, 0]]), matrix)).all()


def test_triangulation_finds_exact_points_and_says_nan_where_it_cannot():
    rng = np.random.default_rng(1)
    cam_from_world = np.concatenate([rotation_exp(rng.normal(size=(5, 3)) * 0.3), rng.normal(size=(5, 3, 1))], -1)
    xyz = rng.normal(size=(7, 3)) + np.array([0.0, 0, 8])
    camera, track = np.meshgrid(np.arange(5), np.arange(7))
    camera, track = np.append(camera.ravel(), 0), np.append(track.ravel(), 7)  # track 7 has one ray
    truth = np.concatenate([xyz, xyz[:1]])
    seen = apply(cam_from_world[camera], truth[track][:, None])[:, 0]
    found = triangulate(cam_from_world[camera], seen * rng.uniform(0.5, 2, (len(seen), 1)), track, 9)
    np.testing.assert_allclose(found[:7], xyz, atol=1e-9)
    assert np.isnan(found[7:]).all()


def test_triangulation_minimises_the_distance_to_the_rays():
    # Two skew lines, x axis at z = 0 and y axis at z = 1: the nearest point is half way between them.
    identity = np.eye(3)
    cam_from_world = np.stack([np.c_[identity, [5.0, 0, 0]], np.c_[identity, [0.0, 5, -1]]])
    found = triangulate(cam_from_world, np.array([[1.0, 0, 0], [0, 1.0, 0]]), np.array([0, 0]), 1)
    np.testing.assert_allclose(found, [[0, 0, 0.5]], atol=1e-12)
