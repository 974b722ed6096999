"""Rigid transforms and rotations, batched over leading axes. Names are `target_from_source`."""

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

_ORTHONORMAL = 1e-6
"""How far a rotation times its transpose may be from the identity, per entry, after sums of many. Chosen by hand."""


def are_rigid(poses: Float[np.ndarray, "*b 3 4"]) -> bool:
    """Whether all are finite, and rotate without a scale, a skew or a mirror."""
    rotation = poses[..., :3]
    error = np.abs(rotation @ np.swapaxes(rotation, -1, -2) - np.eye(3))
    return bool(np.isfinite(poses).all() and (error < _ORTHONORMAL).all() and (np.linalg.det(rotation) > 0).all())


def invert(a_from_b: Float[np.ndarray, "*b 3 4"]) -> Float[np.ndarray, "*b 3 4"]:
    """Give b_from_a of rigid transforms."""
    rotation = np.swapaxes(a_from_b[..., :3], -1, -2)
    return np.concatenate([rotation, -rotation @ a_from_b[..., 3:]], axis=-1)


def compose(
    a_from_b: Float[np.ndarray, "*b 3 4"], b_from_c: Float[np.ndarray, "*c 3 4"]
) -> Float[np.ndarray, "*d 3 4"]:
    """Give a_from_c; leading axes broadcast."""
    rotation, translation = a_from_b[..., :3], a_from_b[..., 3:]
    return np.concatenate([rotation @ b_from_c[..., :3], rotation @ b_from_c[..., 3:] + translation], axis=-1)


def apply(
    target_from_source: Float[np.ndarray, "*b r 4"], points: Float[np.ndarray, "*c n 3"]
) -> Float[np.ndarray, "*d n 3"]:
    """Move points by rigid (3, 4) or affine (4, 4) transforms; leading axes broadcast."""
    linear, translation = target_from_source[..., :3, :3], target_from_source[..., None, :3, 3]
    moved: np.ndarray = points @ np.swapaxes(linear, -1, -2) + translation
    return moved


def centres(cam_from_world: Float[np.ndarray, "*b 3 4"]) -> Float[np.ndarray, "*b 3"]:
    """Give the positions of cameras in the world."""
    return invert(cam_from_world)[..., 3]


def rotation_exp(vector: Float[np.ndarray, "*b 3"]) -> Float[np.ndarray, "*b 3 3"]:
    """Turn rotation vectors (axis times angle in radians) into matrices."""
    matrix = Rotation.from_rotvec(vector.reshape(-1, 3)).as_matrix()
    return np.asarray(matrix).reshape(*vector.shape[:-1], 3, 3)


def rotation_log(rotation: Float[np.ndarray, "*b 3 3"]) -> Float[np.ndarray, "*b 3"]:
    """Turn rotation matrices into rotation vectors (axis times angle in radians, at most pi)."""
    vector = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_rotvec()
    return np.asarray(vector).reshape(rotation.shape[:-1])


def rotation_angle(rotation: Float[np.ndarray, "*b 3 3"]) -> Float[np.ndarray, "*b"]:
    """Give the angles of rotations in degrees, 0 to 180; accurate near 0, where the trace formula is not."""
    return np.asarray(np.degrees(np.linalg.norm(rotation_log(rotation), axis=-1)))
