"""transforms.json of nerfstudio, instant-ngp and Polycam (nerfstudio's documentation, "Data conventions").

The poses stay in the frame they are written in; `applied_transform` and `applied_scale` say how it came about and
`aabb_scale`, `scale` and `offset` where a trainer puts it, which changes no camera.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.foreign.camera import UNKNOWN_SIZE, ForeignCamera, from_world_from_cam, lens
from dust3r_sfm.types import KnownCamera

_PERSPECTIVE = frozenset(
    {"OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV", "PERSPECTIVE"}
)
_FISHEYE = frozenset({"OPENCV_FISHEYE", "FISHEYE"})
_DISTORTION = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
_REFUSED = {
    "rolling_shutter": "a rolling shutter",
    "is_orthographic": "an orthographic camera",
    "ftheta_p0": "an f-theta lens",
    "fisheye624": "a fisheye624 lens",
    "s1": "thin-prism coefficients",
    "s2": "thin-prism coefficients",
    "s3": "thin-prism coefficients",
    "s4": "thin-prism coefficients",
    "skew": "skew",
}
"""Keys that would change the projection and are not read, and what they mean."""


def read_transforms(content: Mapping[str, Any], source: Path) -> dict[str, ForeignCamera]:
    """Read the frames of a transforms.json.

    Args:
        content: the JSON object.
        source: the file, for sentences.

    Raises:
        InputError: a key is missing or of the wrong kind, a pose is no pose, or a lens is not read.
    """
    found = {}
    for number, frame in enumerate(content["frames"]):
        try:
            name = str(frame["file_path"])
            matrix = np.array(frame["transform_matrix"], float)
            camera = _camera(content | frame, name, source)
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"Frame {number} of {source} cannot be read ({error!r}); correct it.", path=source
            ) from error
        found[name] = ForeignCamera(
            cam_from_world=from_world_from_cam(matrix, name, source, opengl=True), camera=camera
        )
    return found


def _camera(frame: Mapping[str, Any], name: str, source: Path) -> KnownCamera | None:
    for key, what in _REFUSED.items():
        if frame.get(key):
            raise InputError(
                f"{name} in {source} has {what} ({key}), which is not read; undistort it first.", path=source
            )
    model = str(frame.get("camera_model", "OPENCV")).upper()
    is_fisheye = model in _FISHEYE or bool(frame.get("is_fisheye"))
    if not is_fisheye and model not in _PERSPECTIVE:
        raise InputError(
            f"{name} in {source} has the camera_model {model}, which is not read; give a perspective one or "
            "OPENCV_FISHEYE.",
            path=source,
        )
    size = (int(frame["w"]), int(frame["h"])) if "w" in frame and "h" in frame else UNKNOWN_SIZE
    focals = _focals(frame, size, name, source)
    if focals is None:
        return None
    centre = tuple(
        float(frame[key]) if key in frame else side / 2 if side else math.nan
        for key, side in zip(("cx", "cy"), size, strict=True)
    )
    values = {key: float(frame.get(key, 0.0)) for key in _DISTORTION}
    if is_fisheye:
        params = (*focals, *centre, *(values[key] for key in ("k1", "k2", "k3", "k4")))
        return KnownCamera(model="OPENCV_FISHEYE", size=size, params=params)
    if values["k4"] and model != "FULL_OPENCV":
        raise InputError(
            f"{name} in {source} has k4 of a perspective camera, which programs read differently; undistort it first.",
            path=source,
        )
    return lens(focals, (centre[0], centre[1]), size, values)


def _focals(frame: Mapping[str, Any], size: tuple[int, int], name: str, source: Path) -> tuple[float, float] | None:
    """Focal lengths in pixels; None where the file says nothing."""
    if "fl_x" in frame:
        return float(frame["fl_x"]), float(frame.get("fl_y", frame["fl_x"]))
    angles = [float(frame[key]) if key in frame else None for key in ("camera_angle_x", "camera_angle_y")]
    if angles[0] is None:
        return None
    if not size[0]:
        raise InputError(
            f"{name} in {source} has camera_angle_x but no w and h to go with it; add the size in pixels.", path=source
        )
    focal_x = size[0] / 2 / math.tan(angles[0] / 2)
    return focal_x, focal_x if angles[1] is None else size[1] / 2 / math.tan(angles[1] / 2)
