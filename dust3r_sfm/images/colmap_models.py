"""COLMAP models as other programs wrote them: measured, and without cameras, poses and names that cannot be."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.foreign.camera import rigid
from dust3r_sfm.images.foreign.colmap_binary import measure_model
from dust3r_sfm.images.foreign.colmap_camera import known_camera, refuse_impossible
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.system.names import refuse_unsafe_name
from dust3r_sfm.system.text import has_mark, read_text

_UNIT = 1e-12
"""How far the length of a quaternion may be from 1: rounding of double precision."""

_MODEL_FILES = ("cameras", "images", "points3D")


def holds_model(folder: Path) -> bool:
    """Whether a folder itself holds a COLMAP model, binary or text."""
    return any(all((folder / f"{stem}{suffix}").is_file() for stem in _MODEL_FILES) for suffix in (".bin", ".txt"))


def find_model(folder: Path) -> Path | None:
    """The folder of a COLMAP model: `folder` itself, or sparse/0, sparse or 0 in it; None when there is none."""
    candidates = (folder, folder / "sparse" / "0", folder / "sparse", folder / "0")
    return next((candidate for candidate in candidates if holds_model(candidate)), None)


def read_model(folder: Path) -> Reconstruction:
    """Read a COLMAP model (binary or text) from its folder, or from a folder that holds it as sparse/0, sparse or 0.

    Raises:
        InputError: when there is no model, it cannot be read, or an image name leads out of the image folder.
    """
    reconstruction = model_in(folder)
    for image in reconstruction.images.values():
        refuse_unsafe_name(image.name, folder)
    return reconstruction


def model_in(folder: Path) -> Reconstruction:
    """Read a COLMAP model as `read_model`, whatever its images are called: for comparing names alone.

    Raises:
        InputError: when there is no model, or it cannot be read.
    """
    found = find_model(folder)
    if found is None:
        raise InputError(
            f"{folder} holds no COLMAP model; give the folder of cameras.bin, images.bin and points3D.bin.", path=folder
        )
    reconstruction = read_files(found)
    _refuse_impossible_parts(reconstruction, found)
    return reconstruction


def read_files(folder: Path) -> Reconstruction:
    """Read the files of a COLMAP model, whatever they say of cameras, poses and names.

    Raises:
        InputError: they are damaged or cut short.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    measure_model(folder)
    try:
        with _without_marks(folder) as plain:
            reconstruction = pycolmap.Reconstruction(str(plain))
        _ = [image.name for image in reconstruction.images.values()]  # names that are not UTF-8 end here
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, OverflowError, MemoryError) as error:
        raise InputError(f"The COLMAP model in {folder} cannot be read; export it again.", path=folder) from error
    return reconstruction


@contextlib.contextmanager
def _without_marks(folder: Path) -> Iterator[Path]:
    """A model's folder; where its text files have byte order marks, a copy without them, while it is read."""
    texts = [] if any(folder.glob("*.bin")) else sorted(folder.glob("*.txt"))
    if not any(map(has_mark, texts)):
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        for path in texts:
            (Path(name) / path.name).write_text(read_text(path), encoding="utf-8")
        yield Path(name)


def _normalize(frame: Any) -> None:
    """Give a quaternion of few digits the length 1, which COLMAP does for texts only."""
    from dust3r_sfm.system._pycolmap import pycolmap

    pose = frame.rig_from_world
    length = np.linalg.norm(pose.rotation.quat)
    if length > 0 and abs(length - 1) > _UNIT:
        frame.rig_from_world = pycolmap.Rigid3d(pycolmap.Rotation3d(pose.rotation.quat / length), pose.translation)


def _refuse_impossible_parts(reconstruction: Reconstruction, folder: Path) -> None:
    for camera_id, camera in reconstruction.cameras.items():
        refuse_impossible(known_camera(camera), f"camera {camera_id}", folder)
    for frame in reconstruction.frames.values():
        if frame.has_pose:
            _normalize(frame)
    for image in reconstruction.images.values():
        if image.has_pose:
            rigid(np.asarray(image.cam_from_world().matrix()), image.name, folder)
    points = np.array([point.xyz for point in reconstruction.points3D.values()])
    if not np.isfinite(points).all():
        raise InputError(
            f"The COLMAP model in {folder} holds points that are not finite; export it again.", path=folder
        )
