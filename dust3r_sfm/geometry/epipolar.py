"""Epipolar geometry of two pinhole cameras."""

import numpy as np
from jaxtyping import Float64


def fundamental_matrix(
    cam2_from_cam1: Float64[np.ndarray, "3 4"],
    intrinsics1: Float64[np.ndarray, "3 3"],
    intrinsics2: Float64[np.ndarray, "3 3"],
) -> Float64[np.ndarray, "3 3"]:
    """Give F with x2ᵀ F x1 = 0 for corresponding pixels of two cameras."""
    (x, y, z), rotation = cam2_from_cam1[:, 3], cam2_from_cam1[:, :3]
    essential = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]) @ rotation
    fundamental: Float64[np.ndarray, "3 3"] = np.linalg.inv(intrinsics2).T @ essential @ np.linalg.inv(intrinsics1)
    return fundamental


def sampson_error(
    fundamental: Float64[np.ndarray, "3 3"], xy1: Float64[np.ndarray, "m 2"], xy2: Float64[np.ndarray, "m 2"]
) -> Float64[np.ndarray, " m"]:
    """Distance of each match from the epipolar geometry, to first order, in pixels (Hartley and Zisserman, eq. 11.9).

    Zero without a baseline, where every match agrees.
    """
    ones = np.ones((len(xy1), 1))
    homogeneous1, homogeneous2 = np.hstack([xy1, ones]), np.hstack([xy2, ones])
    line2, line1 = homogeneous1 @ fundamental.T, homogeneous2 @ fundamental
    residual = np.abs(np.sum(homogeneous2 * line2, axis=1))
    gradient = np.sqrt(np.sum(line1[:, :2] ** 2, axis=1) + np.sum(line2[:, :2] ** 2, axis=1))
    error: Float64[np.ndarray, " m"] = residual / np.maximum(gradient, np.finfo(np.float64).tiny)
    return error
