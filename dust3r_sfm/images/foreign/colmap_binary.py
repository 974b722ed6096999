"""COLMAP's binary files measured before COLMAP reads them (its documentation, "Output Format").

COLMAP's readers do not notice the end of a file: a count that was cut off becomes one of billions, for which they take
memory without end. So every record is walked over here, and must end where the file ends.
"""

import mmap
import struct
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from dust3r_sfm.errors import InputError

_COUNT, _ID, _MODEL = struct.Struct("<Q"), struct.Struct("<I"), struct.Struct("<i")
_POSE_BYTES = 7 * 8
"""A quaternion and a translation. COLMAP's format."""
_SENSOR_BYTES = 4 + 4
"""Type and id. COLMAP's format."""
_POINT2D_BYTES = 8 + 8 + 8
"""x, y and the id of a point. COLMAP's format."""
_POINT3D_BYTES = 8 + 3 * 8 + 3 + 8
"""Id, position, colour and error. COLMAP's format."""
_TRACK_ELEMENT_BYTES = 4 + 4
"""Id of an image and index of a point in it. COLMAP's format."""


def measure_model(folder: Path) -> None:
    """Walk over the records of the binary files of a model; those that are not there are passed over.

    Raises:
        InputError: a file is shorter or longer than its counts say, or holds a camera of an unknown model.
    """
    for name, skip in _SKIPS.items():
        path = folder / f"{name}.bin"
        if path.is_file():
            _measure(path, skip)


def _measure(path: Path, skip: Callable[[mmap.mmap, int], int]) -> None:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            (count,), place = _COUNT.unpack_from(content), _COUNT.size
            for _ in range(count):  # ends by an error where the file does
                place = skip(content, place)
                if place > len(content):
                    raise ValueError("a record ends behind the file")
            if place != len(content):
                raise ValueError("more than the records")
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise InputError(
            f"The COLMAP model in {path.parent} cannot be read: {path.name} is damaged or cut short; export it again.",
            path=path,
        ) from error


def _after_camera(content: mmap.mmap, place: int) -> int:
    (model,) = _MODEL.unpack_from(content, place + _ID.size)
    return place + _ID.size + _MODEL.size + 2 * 8 + 8 * _num_params()[model]


def _after_image(content: mmap.mmap, place: int) -> int:
    end = content.find(b"\0", place + _ID.size + _POSE_BYTES + _ID.size)
    if end < 0:
        raise ValueError("a name without an end")
    (num_points,) = _COUNT.unpack_from(content, end + 1)
    return end + 1 + _COUNT.size + int(num_points) * _POINT2D_BYTES


def _after_point(content: mmap.mmap, place: int) -> int:
    (length,) = _COUNT.unpack_from(content, place + _POINT3D_BYTES)
    return place + _POINT3D_BYTES + _COUNT.size + int(length) * _TRACK_ELEMENT_BYTES


def _after_rig(content: mmap.mmap, place: int) -> int:
    (num_sensors,) = _ID.unpack_from(content, place + _ID.size)
    place += 2 * _ID.size + (_SENSOR_BYTES if num_sensors else 0)  # the reference sensor has no pose
    for _ in range(1, num_sensors):
        has_pose = content[place + _SENSOR_BYTES : place + _SENSOR_BYTES + 1]
        if has_pose not in (b"\0", b"\1"):
            raise ValueError("a sensor that neither has a pose nor has none")
        place += _SENSOR_BYTES + 1 + (_POSE_BYTES if has_pose == b"\1" else 0)
    return place


def _after_frame(content: mmap.mmap, place: int) -> int:
    head = 2 * _ID.size + _POSE_BYTES
    (num_data,) = _ID.unpack_from(content, place + head)
    return place + head + _ID.size + int(num_data) * (_SENSOR_BYTES + 8)


_SKIPS: Mapping[str, Callable[[mmap.mmap, int], int]] = {
    "cameras": _after_camera,
    "rigs": _after_rig,
    "frames": _after_frame,
    "images": _after_image,
    "points3D": _after_point,
}
"""By name of the file: from the place of a record to that behind it."""


@cache
def _num_params() -> dict[int, int]:
    """Parameters of each of COLMAP's camera models, by its number in the files."""
    from dust3r_sfm.system._pycolmap import pycolmap

    models = [name for name in pycolmap.CameraModelId.__members__ if name != "INVALID"]
    made = [pycolmap.Camera.create_from_model_name(1, name, 1.0, 2, 2) for name in models]
    return {int(camera.model): len(camera.params) for camera in made}
