"""A camera as another program left it, in our conventions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import invert
from dust3r_sfm.types import KnownCamera

_MAX_SKEW = 1e-2
"""How far a written rotation may be from the nearest proper one, per entry: files of few digits."""

_EXACT = 1e-12
"""How far a rotation times its transpose may be from the identity, per entry: rounding of double precision."""

_FARTHEST = 1e12
"""No camera stands farther from the origin, in whatever unit, and squares of it are finite. Chosen by hand."""

UNKNOWN_SIZE = (0, 0)
"""Size of a camera whose file gives none: that of the photograph."""

_CV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True, kw_only=True)
class ForeignCamera:
    """A photograph's camera and pose.

    Attributes:
        cam_from_world: world to camera, axes x right, y down, z forward.
        camera: lens and size in pixels of the file's own picture; None where the file says nothing of it. A size of 0
            stands for that of the photograph, a principal point of NaN for its middle.
    """

    cam_from_world: Float64[np.ndarray, "3 4"]
    camera: KnownCamera | None


def from_world_from_cam(
    matrix: Float64[np.ndarray, "r 4"], name: str, source: Path, *, opengl: bool = False
) -> Float64[np.ndarray, "3 4"]:
    """Give cam_from_world of a camera's place in the world.

    Args:
        matrix: world from camera (3 × 4 or 4 × 4).
        name: of the photograph, for sentences.
        source: the file, for sentences.
        opengl: the camera's axes are x right, y up, z backward.

    Raises:
        InputError: it is no rigid transform.
    """
    if matrix.shape not in ((3, 4), (4, 4)):
        shape = " × ".join(map(str, matrix.shape))
        raise InputError(f"The pose of {name} in {source} has {shape} numbers, not 4 × 4; correct it.", path=source)
    if matrix.shape == (4, 4) and np.isfinite(matrix).all() and not np.allclose(matrix[3], (0, 0, 0, 1), atol=1e-6):
        raise InputError(
            f"The pose of {name} in {source} ends with the row {matrix[3].tolist()}, not 0 0 0 1; correct it.",
            path=source,
        )
    pose = np.asarray(matrix[:3], np.float64)
    if opengl:
        pose = np.column_stack([pose[:, :3] @ _CV_FROM_OPENGL, pose[:, 3]])
    return invert(rigid(pose, name, source))


def of_quaternion(entry: Mapping[str, Any]) -> Float64[np.ndarray, "3 4"]:
    """Give cam_from_world of an entry of poses.json: `qvec_cam_from_world` (w, x, y, z) and `tvec`.

    Raises:
        KeyError, TypeError, ValueError: it is no such entry.
    """
    rotation = Rotation.from_quat(np.array(entry["qvec_cam_from_world"], float), scalar_first=True).as_matrix()
    return np.column_stack([rotation, np.array(entry["tvec"], float)]).reshape(3, 4)


def rigid(pose: Float64[np.ndarray, "3 4"], name: str, source: Path) -> Float64[np.ndarray, "3 4"]:
    """Replace a rotation of few digits by the nearest proper one; leave one that is already exact as it is.

    Raises:
        InputError: the pose is not finite, mirrored, or no rotation.
    """
    if not (np.abs(pose) <= _FARTHEST).all():  # not so of NaN either
        raise InputError(
            f"The pose of {name} in {source} holds numbers that are not finite; leave the photograph out of the file.",
            path=source,
        )
    rotation = pose[:, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() < _EXACT and np.linalg.det(rotation) > 0:
        return np.asarray(pose, np.float64)
    if np.linalg.det(rotation) < 0:
        raise InputError(
            f"The pose of {name} in {source} is mirrored (left-handed axes); export right-handed ones.", path=source
        )
    left, _, right = np.linalg.svd(rotation)
    if np.abs(left @ right - rotation).max() > _MAX_SKEW:
        raise InputError(
            f"The pose of {name} in {source} holds no rotation (a scale or a skew?); export rigid poses.", path=source
        )
    return np.column_stack([left @ right, pose[:, 3]])


def lens(
    focals: tuple[float, float], centre: tuple[float, float], size: tuple[int, int], distortion: dict[str, float]
) -> KnownCamera:
    """The simplest perspective camera of COLMAP that has these parameters of OpenCV.

    Args:
        focals, centre, size: pixels.
        distortion: k1 to k6, p1, p2; what is missing is 0.
    """
    k1, k2, k3, k4, k5, k6, p1, p2 = (
        distortion.get(name, 0.0) for name in ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
    )
    pinhole = (*focals, *centre)
    if k3 or k4 or k5 or k6:
        return KnownCamera(model="FULL_OPENCV", size=size, params=(*pinhole, k1, k2, p1, p2, k3, k4, k5, k6))
    if p1 or p2 or ((k1 or k2) and focals[0] != focals[1]):
        return KnownCamera(model="OPENCV", size=size, params=(*pinhole, k1, k2, p1, p2))
    if k2:
        return KnownCamera(model="RADIAL", size=size, params=(focals[0], *centre, k1, k2))
    if k1:
        return KnownCamera(model="SIMPLE_RADIAL", size=size, params=(focals[0], *centre, k1))
    if focals[0] == focals[1]:
        return KnownCamera(model="SIMPLE_PINHOLE", size=size, params=(focals[0], *centre))
    return KnownCamera(model="PINHOLE", size=size, params=pinhole)
