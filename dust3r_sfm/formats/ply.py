"""Point clouds as binary PLY files, with the fields that COLMAP writes and splatting trainers ask for."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from dust3r_sfm.errors import InputError
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.system.files import atomic_path

_XYZ, _NORMAL, _RGB = ("x", "y", "z"), ("nx", "ny", "nz"), ("red", "green", "blue")
_FIELDS = np.dtype([*((name, "<f4") for name in _XYZ + _NORMAL), *((name, "u1") for name in _RGB)])
_TYPES = {"float": "<f4", "float32": "<f4", "double": "<f8", "uchar": "u1", "uint8": "u1", "int": "<i4", "uint": "<u4"}
_HEADER_LINES = 64
"""A longer header is none; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Coloured points.

    Attributes:
        xyz: points in the world (n, 3).
        normal: unit normals, 0 where unknown (n, 3).
        rgb: colours (n, 3).
    """

    xyz: Float32[np.ndarray, "n 3"]
    normal: Float32[np.ndarray, "n 3"]
    rgb: UInt8[np.ndarray, "n 3"]


def cloud_of(reconstruction: Reconstruction) -> Cloud:
    """The points of a model; their normals are unknown."""
    points = list(reconstruction.points3D.values())
    xyz = np.array([point.xyz for point in points], np.float32).reshape(-1, 3)
    rgb = np.array([point.color for point in points], np.uint8).reshape(-1, 3)
    return Cloud(xyz=xyz, normal=np.zeros_like(xyz), rgb=rgb)


def write_ply(path: Path, cloud: Cloud) -> None:
    """Write a cloud with the fields x y z nx ny nz red green blue.

    Raises:
        OutputError: when the disk is full or the folder cannot be written.
    """
    rows = np.empty(len(cloud.xyz), _FIELDS)
    for names, values in ((_XYZ, cloud.xyz), (_NORMAL, cloud.normal), (_RGB, cloud.rgb)):
        for name, column in zip(names, values.T, strict=True):
            rows[name] = column
    properties = "".join(f"property float {name}\n" for name in _XYZ + _NORMAL)
    properties += "".join(f"property uchar {name}\n" for name in _RGB)
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n{properties}end_header\n"
    with atomic_path(path) as temporary:
        temporary.write_bytes(header.encode() + rows.tobytes())


def read_ply(path: Path) -> Cloud:
    """Read the points of a binary PLY file; absent normals and colours are 0.

    Raises:
        InputError: when the file is missing, or not a binary little-endian PLY of points.
    """
    try:
        with path.open("rb") as file:
            count, fields = _read_header(iter(file.readline, b""))
            rows = np.frombuffer(file.read(count * fields.itemsize), fields)
            if len(rows) != count:
                raise ValueError("the file is cut short")
            present = set(fields.names or ())
            xyz, normal, rgb = (
                np.stack([rows[name] if name in present else np.zeros(count) for name in names], axis=-1)
                for names in (_XYZ, _NORMAL, _RGB)
            )
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"{path} is not a binary PLY file of points; write it again.", path=path) from error
    return Cloud(xyz=xyz.astype(np.float32), normal=normal.astype(np.float32), rgb=rgb.astype(np.uint8))


def _read_header(lines: Iterator[bytes]) -> tuple[int, np.dtype[np.void]]:
    """Number of vertices and their fields; later elements (faces) are left unread."""
    count, element = 0, ""
    fields: list[tuple[str, str]] = []
    for words in (line.decode("ascii", "replace").split() for line in islice(lines, _HEADER_LINES)):
        if words[:1] == ["end_header"]:
            return count, np.dtype(fields)
        if words[:1] == ["format"] and words[1] != "binary_little_endian":
            raise ValueError("not binary")
        if words[:1] == ["element"]:
            element = words[1]
            count = int(words[2]) if element == "vertex" else count
        if words[:1] == ["property"] and element == "vertex":
            fields.append((words[2], _TYPES[words[1]]))
    raise ValueError("no end of the header")
