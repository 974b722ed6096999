"""The one resampling that gives the picture of a pinhole from that of a camera with a lens."""

import numpy as np
from jaxtyping import Float32, UInt8

from dust3r_sfm.system._pycolmap import Camera

_ROWS_AT_ONCE = 256
"""Rows of a picture that are projected at once, which bounds the memory; chosen by hand."""


def source_positions(camera: Camera, pinhole: Camera) -> Float32[np.ndarray, "h w 2"]:
    """Where the pixels of a pinhole's picture lie in that of a camera at the same place, in COLMAP's convention."""
    columns = (np.arange(pinhole.width) + 0.5 - pinhole.principal_point_x) / pinhole.focal_length_x
    positions = np.empty((pinhole.height, pinhole.width, 2), np.float32)
    for start in range(0, pinhole.height, _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, pinhole.height))
        x, y = np.meshgrid(columns, (rows + 0.5 - pinhole.principal_point_y) / pinhole.focal_length_y)
        rays = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)
        positions[rows] = camera.img_from_cam(rays).reshape(*x.shape, 2)
    return positions


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
