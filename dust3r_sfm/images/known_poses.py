"""Poses that the user knows: COLMAP models, transforms.json, poses.json, 7-Scenes' pose files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import invert
from dust3r_sfm.images.colmap_models import find_model, read_model
from dust3r_sfm.images.foreign.camera import of_quaternion, rigid
from dust3r_sfm.images.known_cameras import name_of, read_json
from dust3r_sfm.images.known_names import resolve
from dust3r_sfm.system.text import read_text

Pose = Float64[np.ndarray, "3 4"]

_OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0])


def read_poses(source: Path, names: Sequence[str]) -> tuple[dict[str, Pose], list[str]]:
    """Read the poses of photographs: raw camera from world (x right, y down, z forward, EXIF orientation not applied).

    Args:
        source: folder of a COLMAP model; folder of 7-Scenes' frame-*.pose.txt (4 × 4, camera to world); transforms.json
            (4 × 4, camera to world, OpenGL's axes); or poses.json ({name: {qvec_cam_from_world, tvec}}).
        names: of the photographs.

    Returns:
        The pose of each photograph that has one, by name, and what the user should know about the others.

    Raises:
        InputError: the source cannot be read, fits no photograph, or holds something that is not a pose.
    """
    if source.is_dir():
        found = _of_model(source) if find_model(source) else _of_pose_files(source)
    elif source.is_file() and source.suffix.lower() == ".json":
        found = _of_json(source)
    else:
        raise InputError(
            f"{source} holds no poses: give the folder of a COLMAP model or of frame-*.pose.txt files, a "
            "transforms.json or a poses.json.",
            path=source,
        )
    finite = {name: pose for name, pose in found.items() if np.isfinite(pose).all()}
    poses, warnings = resolve(finite, names, source, "pose")
    return {name: rigid(pose, name, source) for name, pose in poses.items()}, warnings


def _of_model(folder: Path) -> dict[str, np.ndarray]:
    images = read_model(folder).images.values()
    return {image.name: np.asarray(image.cam_from_world().matrix()) for image in images if image.has_pose}


def _of_pose_files(folder: Path) -> dict[str, np.ndarray]:
    files = sorted(folder.rglob("*.pose.txt"))
    if not files:
        raise InputError(
            f"{folder} holds neither a COLMAP model nor frame-*.pose.txt files; check --poses.", path=folder
        )
    found = {}
    for file in files:
        try:
            found[file.relative_to(folder).as_posix()] = _inverse(
                np.loadtxt(read_text(file).splitlines(), ndmin=2), file
            )
        except (OSError, ValueError) as error:
            raise InputError(f"{file} is not a 4 × 4 matrix of numbers; correct it.") from error
    return found


def _of_json(path: Path) -> dict[str, np.ndarray]:
    content = read_json(path)
    try:
        if "frames" in content:
            return {name_of(frame): _of_opengl(frame, path) for frame in content["frames"]}
        return {name: of_quaternion(entry) for name, entry in content.items() if "tvec" in entry}
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{path} is neither a transforms.json nor a poses.json ({error!r}); correct it.", path=path
        ) from error


def _of_opengl(frame: dict[str, Any], path: Path) -> np.ndarray:
    matrix = np.array(frame["transform_matrix"], float)
    _require_shape(matrix, path)
    matrix[:3, :3] = matrix[:3, :3] @ _OPENCV_FROM_OPENGL
    return _inverse(matrix, path)


def _inverse(world_from_cam: np.ndarray, path: Path) -> np.ndarray:
    _require_shape(world_from_cam, path)
    if not np.isfinite(world_from_cam).all():  # 7-Scenes and ScanNet write infinities where tracking was lost
        return np.full((3, 4), np.nan)
    return invert(rigid(world_from_cam[:3], path.name, path))


def _require_shape(matrix: np.ndarray, path: Path) -> None:
    if matrix.shape not in ((4, 4), (3, 4)):
        raise InputError(f"{path} holds a pose of {matrix.shape} numbers instead of 4 × 4; correct it.", path=path)
