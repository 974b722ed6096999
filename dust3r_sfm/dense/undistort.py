"""Cameras without distortion whose principal point is the centre, and what they see."""

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.errors import InputError
from dust3r_sfm.system._pycolmap import Camera

_CENTRED_RAW_PX = 1e-6
"""Principal points nearer to the centre than this are off by rounding only."""

_SMALLEST_OF_SIDE = 0.25
"""A camera of which less than this share of a side would be left has no usable centre; chosen by hand."""


def centred_camera(camera: Camera) -> Camera:
    """Give the PINHOLE camera in whose picture the principal point is the exact centre and no pixel is blank.

    COLMAP's own undistortion chooses focal lengths and window; the window is then cropped around the principal point,
    because the original splatting loader takes the centre for it.

    Raises:
        InputError: the camera cannot be made a pinhole, or its principal point lies near a border.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    undistorted = camera
    if not _is_pinhole(camera):
        try:
            undistorted = pycolmap.undistort_camera(pycolmap.UndistortCameraOptions(), camera)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"A {camera.model_name} camera cannot be undistorted to a pinhole; "
                "give photographs or intrinsics of a perspective camera."
            ) from error
    size = np.array([undistorted.width, undistorted.height])
    point = np.array([undistorted.principal_point_x, undistorted.principal_point_y])
    half = np.minimum(point, size - point)
    cropped = np.floor(2 * half + _CENTRED_RAW_PX).astype(int)
    if np.any(cropped < _SMALLEST_OF_SIDE * size):
        raise InputError(
            f"The principal point ({point[0]:.1f}, {point[1]:.1f}) of a {size[0]}×{size[1]} camera lies too near the "
            "border to be centred; give photographs or intrinsics with a central principal point."
        )
    return pycolmap.Camera(
        camera_id=camera.camera_id,
        model="PINHOLE",
        width=int(cropped[0]),
        height=int(cropped[1]),
        params=[undistorted.focal_length_x, undistorted.focal_length_y, *(cropped / 2)],
        has_prior_focal_length=camera.has_prior_focal_length,
    )


def is_same_picture(camera: Camera, centred: Camera) -> bool:
    """Whether a picture of the camera is one of its centred camera as it stands."""
    off = np.array([camera.principal_point_x, camera.principal_point_y]) * 2 - [camera.width, camera.height]
    same_size = (camera.width, camera.height) == (centred.width, centred.height)
    return _is_pinhole(camera) and same_size and bool(np.abs(off).max() <= 2 * _CENTRED_RAW_PX)


def centred_keypoints(camera: Camera, centred: Camera, xy: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, "k 2"]:
    """Move positions in the original picture to the centred one; NaN where the lens model has no ray for them."""
    on_plane = np.asarray(camera.cam_from_img(xy), dtype=np.float64).reshape(-1, 2)
    focal = np.array([centred.focal_length_x, centred.focal_length_y])
    moved: Float64[np.ndarray, "k 2"] = on_plane * focal + [centred.principal_point_x, centred.principal_point_y]
    return moved


def _is_pinhole(camera: Camera) -> bool:
    return camera.model_name in ("SIMPLE_PINHOLE", "PINHOLE")
