"""A nerfstudio data set: transforms.json, pictures, masks and the points that splatting starts from."""

import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from PIL import Image

from dust3r_sfm.colmap.model import read_model
from dust3r_sfm.errors import InputError
from dust3r_sfm.formats.ply import cloud_of, write_ply
from dust3r_sfm.system._pycolmap import Camera, Reconstruction
from dust3r_sfm.system._pycolmap import Image as PosedImage
from dust3r_sfm.system.files import atomic_path, write_json
from dust3r_sfm.system.names import path_inside

_OPENGL_AXES = np.array([1.0, -1.0, -1.0, 1.0])
"""nerfstudio's cameras look along -z with y up."""


_CAMERAS_OF_CUBE = 0.8
"""Side of the cameras' box, of instant-ngp's unit cube; chosen by hand."""

_SEEN_PERCENTILE, _MAX_AABB_SCALE = 95.0, 128
"""Share of the points that instant-ngp's box holds, chosen by hand, and the largest that it takes."""


def write_nerfstudio(dense: Path, folder: Path) -> Path:
    """Write transforms.json, points.ply, images/ and (where there are any) masks/ from an undistorted workspace.

    Poses are world_from_cam with OpenGL camera axes, in the model's own world and scale; `ply_file_path` is in the same
    world; scale, offset and aabb_scale are for instant-ngp. Either every frame names a mask or none does, as nerfstudio
    asks: images without one get a white one.

    Args:
        dense: workspace with images/, sparse/ and possibly masks/.
        folder: replaced as a whole.

    Returns:
        The transforms.json.

    Raises:
        InputError: when the workspace lacks its model or an image.
        OutputError: when the disk is full or the folder cannot be written.
    """
    reconstruction = read_model(dense / "sparse")
    images = sorted((image for image in reconstruction.images.values() if image.has_pose), key=lambda image: image.name)
    has_masks = (dense / "masks").is_dir()
    with atomic_path(folder) as temporary:
        frames = []
        for image in images:
            _link(dense / "images" / image.name, path_inside(temporary / "images", image.name))
            frame = _camera(image.camera) | {
                "file_path": f"images/{image.name}",
                "transform_matrix": _world_from_opengl(image).tolist(),
            }
            if has_masks:
                frame["mask_path"] = f"masks/{image.name}.png"
                _mask(dense / frame["mask_path"], temporary / frame["mask_path"], image.camera)
            frames.append(frame)
        write_ply(temporary / "points.ply", cloud_of(reconstruction))
        write_json(
            temporary / "transforms.json",
            {"camera_model": "OPENCV", "ply_file_path": "points.ply", **_box(reconstruction), "frames": frames},
        )
    return folder / "transforms.json"


def _box(reconstruction: Reconstruction) -> dict[str, Any]:
    """What instant-ngp brings the scene into its unit cube with, as `scale * xyz + offset`, and how far it looks.

    Source: instant-ngp's `nerf_loader`: the cube holds the cameras, `aabb_scale`, a power of two, what they see.
    """
    centres = np.array([image.projection_center() for image in reconstruction.images.values() if image.has_pose])
    points = np.array([point.xyz for point in reconstruction.points3D.values()]).reshape(-1, 3)
    middle = (centres.min(0) + centres.max(0)) / 2
    reach = np.abs(centres - middle).max()
    if len(points) == 0 or reach == 0:
        return {}
    scale = _CAMERAS_OF_CUBE / (2 * reach)
    seen = 2 * scale * np.percentile(np.abs(points - middle).max(1), _SEEN_PERCENTILE)
    doublings = math.ceil(math.log2(np.clip(seen, 1.0, _MAX_AABB_SCALE)))
    return {"scale": scale, "offset": (0.5 - scale * middle).tolist(), "aabb_scale": 2**doublings}


def _camera(camera: Camera) -> dict[str, Any]:
    return {
        "w": camera.width,
        "h": camera.height,
        "fl_x": camera.focal_length_x,
        "fl_y": camera.focal_length_y,
        "cx": camera.principal_point_x,
        "cy": camera.principal_point_y,
    }


def _world_from_opengl(image: PosedImage) -> Float64[np.ndarray, "4 4"]:
    world_from_cam = np.vstack([image.cam_from_world().inverse().matrix(), [0.0, 0.0, 0.0, 1.0]])
    return np.asarray(world_from_cam * _OPENGL_AXES)


def _mask(source: Path, target: Path, camera: Camera) -> None:
    if source.is_file():
        _link(source, target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (camera.width, camera.height), 255).save(target)


def _link(source: Path, target: Path) -> None:
    if not source.is_file():
        raise InputError(f"{source} is missing; export the model with --colmap again.", path=source)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
