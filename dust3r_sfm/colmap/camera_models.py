"""Camera models of COLMAP: changing from one to another, and pixels without a lens's distortion."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.colmap.model import NO_TRACKS, Reconstruction, upright_turns, with_points
from dust3r_sfm.types import Scene

_PINHOLES = frozenset({"SIMPLE_PINHOLE", "PINHOLE"})


def straighten_with(model: Reconstruction) -> Callable[[int, Float64[np.ndarray, "_ 2"]], Float64[np.ndarray, "_ 2"]]:
    """Give the function that takes distortion out of raw pixels of an image, by its index.

    It leads to the pinhole camera of the same focal length and principal point, and keeps images the model lacks.
    """
    cameras = {image_id - 1: image.camera for image_id, image in model.images.items()}
    return lambda index, xy: straightened(cameras[index], xy) if index in cameras else xy


def straightened(camera: Any, xy: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, "k 2"]:
    """Raw pixels as the pinhole camera of the same focal length and principal point sees them."""
    if len(xy) == 0 or camera.model.name in _PINHOLES:
        return xy
    matrix = camera.calibration_matrix()
    straight: Float64[np.ndarray, "k 2"] = normalised(camera, xy) @ matrix[:2, :2].T + matrix[:2, 2]
    return straight


def normalised(camera: Any, xy: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, "k 2"]:
    """Undistorted image coordinates at z = 1 of raw pixels of a `pycolmap.Camera`."""
    if len(xy) == 0:
        return xy
    coordinates: Float64[np.ndarray, "k 2"] = np.asarray(camera.cam_from_img(xy), dtype=np.float64).reshape(-1, 2)
    return coordinates


def with_lens(cameras: Reconstruction, name: str, kept: Bool[np.ndarray, " n"]) -> Reconstruction:
    """Copy a model's cameras with another camera model, without distortion; points are left out.

    Args:
        cameras: the model.
        name: COLMAP's name of the camera model.
        kept: images whose camera stays as it is (n,).
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    copy = with_points(cameras, NO_TRACKS)
    stay = {image.camera_id for image_id, image in copy.images.items() if kept[image_id - 1]}
    for camera_id, camera in copy.cameras.items():
        if camera_id in stay or camera.model.name == name:
            continue
        new = pycolmap.Camera.create_from_model_name(camera_id, name, 1.0, camera.width, camera.height)
        params = np.zeros(len(new.params))
        focals = [camera.focal_length_x, camera.focal_length_y]
        params[new.focal_length_idxs()] = focals if len(new.focal_length_idxs()) == 2 else np.mean(focals)
        params[new.principal_point_idxs()] = camera.principal_point_x, camera.principal_point_y
        camera.model, camera.params = new.model, params
    return copy


def scene_of(scene: Scene, model: Reconstruction) -> Scene:
    """Give the scene the poses of a model and its cameras without distortion; depths stay as they are."""
    from_raw = np.swapaxes(upright_turns(scene), 1, 2)
    cam_from_world, intrinsics = scene.cam_from_world.copy(), scene.intrinsics.copy()
    for image_id, image in model.images.items():
        index = image_id - 1
        cam_from_world[index] = from_raw[index] @ image.cam_from_world().matrix()
        intrinsics[index] = scene.network_from_image[index] @ image.camera.calibration_matrix() @ from_raw[index].T
    return replace(scene, cam_from_world=cam_from_world, intrinsics=intrinsics)
