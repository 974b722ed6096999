"""Cameras without distortion whose principal point is the centre, and the one resampling that gives their pictures."""

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from dust3r_sfm.errors import InputError
from dust3r_sfm.system._pycolmap import Camera

_CENTRED_RAW_PX = 1e-6
"""Principal points nearer to the centre than this are off by rounding only."""

_SMALLEST_OF_SIDE = 0.25
"""A camera of which less than this share of a side would be left has no usable centre; chosen by hand."""

_ROWS_AT_ONCE = 256
"""Rows of a picture that are projected at once, which bounds the memory; chosen by hand."""


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


def source_positions(camera: Camera, centred: Camera) -> Float32[np.ndarray, "h w 2"]:
    """Where the pixels of a centred camera's picture lie in that of the original camera, in COLMAP's convention."""
    columns = (np.arange(centred.width) + 0.5 - centred.principal_point_x) / centred.focal_length_x
    positions = np.empty((centred.height, centred.width, 2), np.float32)
    for start in range(0, centred.height, _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, centred.height))
        x, y = np.meshgrid(columns, (rows + 0.5 - centred.principal_point_y) / centred.focal_length_y)
        rays = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)
        positions[rows] = camera.img_from_cam(rays).reshape(*x.shape, 2)
    return positions


def centred_keypoints(camera: Camera, centred: Camera, xy: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, "k 2"]:
    """Move positions in the original picture to the centred one; NaN where the lens model has no ray for them."""
    on_plane = np.asarray(camera.cam_from_img(xy), dtype=np.float64).reshape(-1, 2)
    focal = np.array([centred.focal_length_x, centred.focal_length_y])
    moved: Float64[np.ndarray, "k 2"] = on_plane * focal + [centred.principal_point_x, centred.principal_point_y]
    return moved


def resample(
    pixels: UInt8[np.ndarray, "h w *c"], positions: Float32[np.ndarray, "r s 2"], *, nearest: bool = False
) -> UInt8[np.ndarray, "r s *c"]:
    """Take a picture's values at the given positions: Lanczos (OpenCV), or the nearest pixel for masks."""
    import cv2

    corner_is_zero = positions - np.float32(0.5)  # OpenCV puts (0, 0) at the centre of the first pixel
    interpolation = cv2.INTER_NEAREST if nearest else cv2.INTER_LANCZOS4
    resampled: UInt8[np.ndarray, "r s *c"] = cv2.remap(
        pixels, corner_is_zero, None, interpolation, borderMode=cv2.BORDER_REPLICATE
    )
    return resampled


def _is_pinhole(camera: Camera) -> bool:
    return camera.model_name in ("SIMPLE_PINHOLE", "PINHOLE")
