"""Camera models of COLMAP: changing from one to another, and pixels without a lens's distortion."""

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.colmap.model import NO_TRACKS, image_of_id, with_points
from dust3r_sfm.system._pycolmap import Camera, Reconstruction
from dust3r_sfm.tracks.cameras import PosedCameras

_PINHOLES = frozenset({"SIMPLE_PINHOLE", "PINHOLE"})


def cameras_of(model: Reconstruction, num_images: int) -> PosedCameras:
    """The cameras of a model as tracks need them, distortion included; images that it lacks are not posed.

    Args:
        model: image ids are those of `colmap.model.id_of_image`.
        num_images: of the scene.
    """
    sizes, posed = np.ones((num_images, 2), np.int64), np.zeros(num_images, bool)
    matrices, poses = np.tile(np.eye(3), (num_images, 1, 1)), np.tile(np.eye(3, 4), (num_images, 1, 1))
    camera_of = {}
    for image_id, image in model.images.items():
        index, camera = image_of_id(image_id), model.cameras[image.camera_id]
        sizes[index], posed[index], camera_of[index] = (camera.width, camera.height), True, image.camera_id
        matrices[index], poses[index] = camera.calibration_matrix(), image.cam_from_world().matrix()
    return PosedCameras(
        sizes=sizes,
        matrices=matrices,
        cam_from_world=poses,
        posed=posed,
        undistort=lambda index, xy: undistort(model.cameras[camera_of[index]], xy),
    )


def undistort(camera: Camera, xy: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, "k 2"]:
    """Raw pixels as the pinhole camera of the same focal length and principal point sees them."""
    if len(xy) == 0 or camera.model.name in _PINHOLES:
        return xy
    matrix = camera.calibration_matrix()
    plane = np.asarray(camera.cam_from_img(xy), dtype=np.float64).reshape(-1, 2)
    undistorted: Float64[np.ndarray, "k 2"] = plane @ matrix[:2, :2].T + matrix[:2, 2]
    return undistorted


def with_camera_model(cameras: Reconstruction, name: str, kept: Bool[np.ndarray, " n"]) -> Reconstruction:
    """Copy a model's cameras with another camera model, without distortion; points are left out.

    Args:
        cameras: the model.
        name: COLMAP's name of the camera model.
        kept: images whose camera stays as it is (n,).
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    copy = with_points(cameras, NO_TRACKS)
    stay = {image.camera_id for image_id, image in copy.images.items() if kept[image_of_id(image_id)]}
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
