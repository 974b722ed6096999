"""A model as binary glTF 2.0, for any 3-D viewer: coloured points and a frustum for each camera."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.spatial import cKDTree

from dust3r_sfm.formats.ply import cloud_of
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.system.files import atomic_path

_POINTS, _LINES = 0, 1
_FLOAT, _UNSIGNED_BYTE = 5126, 5121
_VERTEX_BUFFER = 34962
_HALF_TURN = [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1]
_QUARTER_TURN = [1, 0, 0, 0, 0, 0, -1, 0, 0, 1, 0, 0, 0, 0, 0, 1]
"""glTF's y axis points up: about x from a model with y down, and from one with z up; column by column."""

_FRUSTUM_COLOUR = (230, 60, 40)
_FRUSTUM_OF_DISTANCE, _FRUSTUM_OF_DEPTH = 0.4, 0.1
"""Length of a frustum over the usual distance to the nearest camera, and without one over that to the points; chosen by
hand."""


def write_glb(path: Path, reconstruction: Reconstruction, *, z_up: bool = False) -> None:
    """Write the points and cameras of a model.

    Args:
        path: of the file.
        reconstruction: the model.
        z_up: whether its z axis points up; otherwise its y axis points down.

    Raises:
        OutputError: when the disk is full or the folder cannot be written.
    """
    cloud = cloud_of(reconstruction)
    frusta = _frusta(reconstruction)
    colour = np.broadcast_to(np.array(_FRUSTUM_COLOUR, np.uint8), frusta.shape)
    parts = [("points", _POINTS, cloud.xyz, cloud.rgb), ("cameras", _LINES, frusta, colour)]
    with atomic_path(path) as temporary:
        temporary.write_bytes(_binary([part for part in parts if len(part[2])], _QUARTER_TURN if z_up else _HALF_TURN))


def _binary(
    parts: list[tuple[str, int, Float32[np.ndarray, "_ 3"], UInt8[np.ndarray, "_ 3"]]], turn: list[int]
) -> bytes:
    """A GLB file: header, JSON chunk, binary chunk."""
    data = b""
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    meshes: list[dict[str, Any]] = []

    def add(values: np.ndarray, **accessor: Any) -> int:
        nonlocal data
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": values.nbytes, "target": _VERTEX_BUFFER})
        accessors.append({"bufferView": len(views) - 1, "count": len(values), **accessor})
        data += values.tobytes()
        return len(accessors) - 1

    for name, mode, xyz, rgb in parts:
        limits = {"min": xyz.min(axis=0).tolist(), "max": xyz.max(axis=0).tolist()}
        position = add(xyz.astype("<f4"), componentType=_FLOAT, type="VEC3", **limits)
        # Four channels, because glTF asks for elements of whole four bytes.
        rgba = np.column_stack([rgb, np.full(len(rgb), 255)]).astype(np.uint8)
        colour = add(rgba, componentType=_UNSIGNED_BYTE, type="VEC4", normalized=True)
        attributes = {"POSITION": position, "COLOR_0": colour}
        meshes.append({"name": name, "primitives": [{"mode": mode, "attributes": attributes}]})
    nodes: list[dict[str, Any]] = [{"name": mesh["name"], "mesh": index} for index, mesh in enumerate(meshes)]
    nodes.append({"name": "model", "matrix": turn} | ({"children": list(range(len(meshes)))} if meshes else {}))
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "dust3r_sfm"},
        "scene": 0,
        "scenes": [{"nodes": [len(nodes) - 1]}],
        "nodes": nodes,
    }
    if meshes:
        document |= {"meshes": meshes, "accessors": accessors, "bufferViews": views}
        document["buffers"] = [{"byteLength": len(data)}]
    text = json.dumps(document, separators=(",", ":")).encode()
    chunks = _chunk(b"JSON", text + b" " * (-len(text) % 4)) + (_chunk(b"BIN\0", data) if meshes else b"")
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + kind + data


def _frusta(reconstruction: Reconstruction) -> Float32[np.ndarray, "v 3"]:
    """Ends of the line segments of all cameras' frusta, in the world."""
    images = [image for image in reconstruction.images.values() if image.has_pose]
    length = _frustum_length(np.array([image.projection_center() for image in images]).reshape(-1, 3), reconstruction)
    segments = []
    for image in images:
        camera = image.camera
        x = np.array([0, camera.width, camera.width, 0]) - camera.principal_point_x
        y = np.array([0, 0, camera.height, camera.height]) - camera.principal_point_y
        corners = np.column_stack([x / camera.focal_length_x, y / camera.focal_length_y, np.ones(4)]) * length
        world_from_cam = image.cam_from_world().inverse().matrix()
        corners = corners @ world_from_cam[:, :3].T + world_from_cam[:, 3]
        centre = np.tile(world_from_cam[:, 3], (4, 1))
        edges = np.concatenate([np.stack([centre, corners], 1), np.stack([corners, np.roll(corners, -1, axis=0)], 1)])
        segments.append(edges.reshape(-1, 3))
    return np.concatenate([np.zeros((0, 3)), *segments]).astype(np.float32)


def _frustum_length(centres: np.ndarray, reconstruction: Reconstruction) -> float:
    """A length that shows the cameras without hiding the points."""
    if len(centres) > 1:
        return _FRUSTUM_OF_DISTANCE * float(np.median(cKDTree(centres).query(centres, k=2)[0][:, 1]))
    xyz = cloud_of(reconstruction).xyz
    return (
        _FRUSTUM_OF_DEPTH * float(np.median(np.linalg.norm(xyz - centres[0], axis=1)))
        if len(xyz) and len(centres)
        else 1.0
    )
