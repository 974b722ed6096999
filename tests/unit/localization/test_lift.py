"""Points of pixels: interpolation that stops at edges, observations, depth maps of all kinds."""

import gc

import cv2
import numpy as np
import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.localization.depths import depth_files, read_depth, scene_depths
from dust3r_sfm.localization.lift import DepthLift, FirstOf, PointLift, sample_depth
from dust3r_sfm.localization.open_map import read_model
from dust3r_sfm.localization.reference import read_reference


def test_interpolation_is_linear_on_a_surface():
    x, y = np.meshgrid(np.arange(8) + 0.5, np.arange(6) + 0.5)
    depth = (10 + 0.05 * x + 0.02 * y).astype(np.float32)
    xy = np.array([[3.2, 2.7], [0.5, 0.5], [7.49, 5.4]])
    assert np.allclose(sample_depth(depth, xy), 10 + 0.05 * xy[:, 0] + 0.02 * xy[:, 1], atol=1e-5)


def test_interpolation_does_not_cross_an_edge_or_a_hole():
    depth = np.full((4, 6), 2.0, np.float32)
    depth[:, 3:] = 5.0
    depth[0, 0] = 0.0
    found = sample_depth(depth, np.array([[2.9, 2.0], [3.1, 2.0], [0.9, 0.9], [0.2, 0.2], [-1.0, 2.0], [2.0, 4.0]]))
    assert np.allclose(found[:2], [2.0, 5.0])
    assert np.isnan(found[2:]).tolist() == [True, True, True, True]


def test_points_of_the_depth_project_to_their_pixels(courtyard):
    view = courtyard.reference.views[1]
    xy = np.random.default_rng(0).uniform((5, 5), np.array(view.size) - 5, (200, 2))
    world = courtyard.lift(1, xy)
    known = np.isfinite(world[:, 0])
    pose = courtyard.reference.cam_from_world[1]
    seen = world[known] @ pose[:, :3].T + pose[:, 3]
    projected = np.asarray(courtyard.reference.image(1).camera.img_from_cam(seen))
    assert known.mean() > 0.8 and np.abs(projected - xy[known]).max() < 1e-6


def test_an_observation_gives_its_point_and_its_neighbourhood_moves_along(map_folder, courtyard):
    reference = read_reference(read_model(map_folder), map_folder / "images")
    lift = PointLift(reference, radius=0.01)
    xy, world = reference.observations(0)
    assert np.allclose(lift(0, xy), world)
    near = lift(0, xy + np.array([1.0, 0.5]))
    truth = courtyard.lift(0, xy + np.array([1.0, 0.5]))
    depth = np.linalg.norm(world - reference.cam_from_world[0][:, :3].T @ -reference.cam_from_world[0][:, 3], axis=1)
    assert np.nanmedian(np.linalg.norm(near - truth, axis=1) / depth) < 0.01
    assert np.isnan(lift(0, np.array([[-50.0, -50.0]]))).all()


def test_the_first_that_knows_answers():
    def left(index, xy):
        return np.where(xy[:, :1] < 5, 1.0, np.nan) * np.ones((1, 3))

    def always(index, xy):
        return np.full((len(xy), 3), 2.0)

    found = FirstOf([left, always])(0, np.array([[1.0, 0.0], [9.0, 0.0]]))
    assert found[:, 0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("kind", ["name.png", "stem.tiff", "sensor.png", "flat.npy", "name.geometric.bin"])
def test_depth_files_of_all_kinds(courtyard, tmp_path, kind):
    from dust3r_sfm.system._pycolmap import pycolmap

    name = courtyard.reference.names[0]
    view = courtyard.reference.views[0]
    x, y = np.meshgrid(np.arange(view.size[0]), np.arange(view.size[1]))
    depth = (2.0 + 0.002 * x + 0.001 * y).astype(np.float32)
    depth[0, :] = 0
    first = name.split("/")[-1].split(".")[0]
    if kind == "name.geometric.bin":
        pycolmap.DepthMap.from_array(depth, 0.1, 10.0).write(tmp_path / f"{name}.geometric.bin")
    elif kind == "flat.npy":
        np.save(tmp_path / f"{first}.npy", depth)
    else:
        file = {"name.png": f"{name}.png", "stem.tiff": f"{first}.tiff", "sensor.png": f"{first}.depth.png"}[kind]
        millimetres = np.rint(depth * 1000).astype(np.uint16)
        millimetres[1, :] = 65535
        assert cv2.imwrite(str(tmp_path / file), millimetres)
    raster = depth_files(courtyard.reference, tmp_path, 0.001)(0)
    assert raster is not None
    assert np.abs(raster.depth[2:] - depth[2:]).max() < 6e-4 and (raster.depth[0] == 0).all()
    assert depth_files(courtyard.reference, tmp_path, 0.001)(1) is None


def test_depth_of_undistorted_images_belongs_to_their_cameras(courtyard, tmp_path):
    from dust3r_sfm.system._pycolmap import pycolmap

    reference = courtyard.reference
    name = reference.names[0]
    camera = pycolmap.Camera(model="PINHOLE", width=100, height=80, params=[90.0, 91.0, 49.0, 41.0])
    undistorted = pycolmap.Reconstruction()
    camera.camera_id = 1
    undistorted.add_camera_with_trivial_rig(camera)
    image = pycolmap.Image(name, np.zeros((0, 2)), 1, 1)
    undistorted.add_image_with_trivial_frame(image, pycolmap.Rigid3d(reference.cam_from_world[0]))
    x, y = np.meshgrid(np.arange(100) + 0.5, np.arange(80) + 0.5)
    plane = (3.0 / (1 + 0.3 * (x - 49.0) / 90.0 - 0.2 * (y - 41.0) / 91.0)).astype(np.float32)
    np.save(tmp_path / f"{name}.npy", plane)
    lift = DepthLift(reference, depth_files(reference, tmp_path, 1.0, undistorted))
    del undistorted, image, camera  # as when the workspace's model was read for this alone
    gc.collect()
    xy = np.array([[240.0, 180.0], [260.0, 200.0]])
    pose = reference.cam_from_world[0]
    seen = lift(0, xy) @ pose[:, :3].T + pose[:, 3]
    assert np.allclose(seen[:, 2] + 0.3 * seen[:, 0] - 0.2 * seen[:, 1], 3.0, atol=0.01)


def test_the_depth_of_a_run_is_scaled_to_the_model(map_folder, courtyard):
    from dataclasses import replace

    reference = read_reference(read_model(map_folder), map_folder / "images")
    doubled = replace(courtyard.scene, depths=tuple(depth * np.float32(2) for depth in courtyard.scene.depths))
    raster = scene_depths(reference, doubled)(0)
    assert raster is not None
    at = courtyard.scene.names.index(reference.names[0])
    known = (courtyard.scene.depths[at] > 0) & (raster.depth > 0)
    assert np.abs(raster.depth[known] / courtyard.scene.depths[at][known] - 1).max() < 0.005


def test_what_is_no_depth_map_is_refused_by_name(courtyard, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no")
    with pytest.raises(InputError, match=r"broken\.png is not a depth map"):
        read_depth(tmp_path / "broken.png", 0.001)
    with pytest.raises(InputError, match="has no depth map"):
        depth_files(courtyard.reference, tmp_path, 0.001)
