"""Pinhole cameras. Camera axes x right, y down, z forward; pixel (0.5, 0.5) is the centre of the first pixel."""

import numpy as np
from jaxtyping import Float, Float64, Integer


def intrinsics(
    focal: float, size: tuple[int, int], principal_point: tuple[float, float] | None = None
) -> Float64[np.ndarray, "3 3"]:
    """Build a pinhole matrix; the principal point is the centre of `size` (width, height) by default."""
    x, y = principal_point if principal_point is not None else (size[0] / 2, size[1] / 2)
    return np.array([[focal, 0.0, x], [0.0, focal, y], [0.0, 0.0, 1.0]])


def pixel_grid(height: int, width: int) -> Float64[np.ndarray, "h w 2"]:
    """Give the (x, y) of all pixel centres."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([x, y], axis=-1)


def rays(height: int, width: int, matrix: Float[np.ndarray, "3 3"]) -> Float64[np.ndarray, "h w 3"]:
    """Give the viewing rays of all pixels in the camera's frame, scaled to z = 1."""
    xy = (pixel_grid(height, width) - matrix[:2, 2]) / matrix[[0, 1], [0, 1]]
    return np.concatenate([xy, np.ones((height, width, 1))], axis=-1)


def unproject(depth: Float[np.ndarray, "h w"], matrix: Float[np.ndarray, "3 3"]) -> Float64[np.ndarray, "h w 3"]:
    """Turn a depth map (z of each pixel) into points in the camera's frame."""
    points: np.ndarray = rays(depth.shape[0], depth.shape[1], matrix) * depth[..., None]
    return points


def project(points: Float[np.ndarray, "*b 3"], matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "*b 2"]:
    """Project points of the camera's frame into its image; points that are not in front of the camera give NaN."""
    z = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
    xy: np.ndarray = points[..., :2] / z * matrix[[0, 1], [0, 1]] + matrix[:2, 2]
    return xy


def pixel_scale(target_from_source: Float64[np.ndarray, "3 3"]) -> float:
    """Give the pixels of the target in one of the source (geometric mean), for an affine map between pixel grids."""
    return float(np.sqrt(abs(np.linalg.det(target_from_source[:2, :2]))))


def triangulate(
    cam_from_world: Float64[np.ndarray, "o 3 4"],
    camera_rays: Float64[np.ndarray, "o 3"],
    track_of: Integer[np.ndarray, " o"],
    num_tracks: int,
) -> Float64[np.ndarray, "t 3"]:
    """Find, per track, the point nearest to all its viewing rays (linear least squares of the distances to the rays).

    Args:
        cam_from_world: pose of the camera of each observation.
        camera_rays: direction of each observation in its camera's frame, of any length.
        track_of: track of each observation, 0 to num_tracks - 1.
        num_tracks: number of tracks.

    Returns:
        Points in the world; NaN where the rays of a track are parallel or there are fewer than two.
    """
    direction = np.einsum("oji,oj->oi", cam_from_world[:, :, :3], camera_rays)
    direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    centre = -np.einsum("oji,oj->oi", cam_from_world[:, :, :3], cam_from_world[:, :, 3])
    # The squared distance to a ray is (X - c)^T (I - d d^T) (X - c): one symmetric 3 by 3 system per track.
    projector = np.eye(3) - direction[:, :, None] * direction[:, None, :]
    normal = np.zeros((num_tracks, 3, 3))
    right = np.zeros((num_tracks, 3))
    np.add.at(normal, track_of, projector)
    np.add.at(right, track_of, np.einsum("oij,oj->oi", projector, centre))
    solvable = np.linalg.eigvalsh(normal)[:, 0] > 1e-10
    xyz = np.full((num_tracks, 3), np.nan)
    xyz[solvable] = np.linalg.solve(normal[solvable], right[solvable][..., None])[..., 0]
    return xyz
