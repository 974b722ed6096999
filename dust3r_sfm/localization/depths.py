"""Depth maps of a map's images: files of sensors and of COLMAP, and the depth of a run of this package."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.decode import decode
from dust3r_sfm.localization.lift import DepthRaster, sample_depth
from dust3r_sfm.localization.reference import Reference
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.types import Scene, is_known

DepthReader = Callable[[int], DepthRaster | None]

_SENSOR_MAX = 65535
"""7-Scenes writes this where the sensor saw nothing."""

_MIN_POINTS = 10
"""Points of the model that tell the scale of a depth map, at least. Chosen by hand."""

_SUFFIXES = (".png", ".tiff", ".tif", ".npy", ".bin")


def depth_files(
    reference: Reference, folder: Path, unit: float, undistorted: Reconstruction | None = None
) -> DepthReader:
    """Read depth maps from a folder.

    The file of `seq-01/frame-000000.color.jpg` is looked for as `seq-01/frame-000000.color.jpg.png` (or .tiff, .npy,
    .geometric.bin, .photometric.bin), `seq-01/frame-000000.color.png`, `seq-01/frame-000000.depth.png` and so on, and
    again without the folders.

    Args:
        reference: the map.
        folder: of the files. They cover their image whole, at any size; z along the optical axis.
        unit: world units of a step of PNG and TIFF files; .npy and .bin files hold world units.
        undistorted: model of COLMAP's undistorted images, which the .bin files belong to; without it they belong to
            the images as they are.

    Raises:
        InputError: no image has a depth map there.
    """
    files = {index: _find(folder, name) for index, name in enumerate(reference.names)}
    if not any(files.values()):
        raise InputError(
            f"{folder} has no depth map of the map's images, such as {reference.names[0]}.png.", path=folder
        )
    # Matrices and not cameras, whose memory goes with the model.
    pinhole = (
        {} if undistorted is None else {image.name: _pinhole(image.camera) for image in undistorted.images.values()}
    )

    def read(index: int) -> DepthRaster | None:
        path, view = files[index], reference.views[index]
        if path is None:
            return None
        depth = read_depth(path, unit)
        if view.name in pinhole:
            scale = np.diag([depth.shape[1], depth.shape[0], 1.0])
            return DepthRaster(depth=depth, matrix=scale @ pinhole[view.name], of_rays=True)
        return DepthRaster(
            depth=depth, matrix=np.diag([depth.shape[1] / view.size[0], depth.shape[0] / view.size[1], 1.0])
        )

    return read


def scene_depths(reference: Reference, scene: Scene) -> DepthReader:
    """The depth of a run, each image's scaled to the points that the model observes in it.

    Args:
        reference: the run's model, whose points may have moved since (refinement, another scale).
        scene: the run's aligned scene.
    """
    index_of = {name: index for index, name in enumerate(scene.names)}

    def read(index: int) -> DepthRaster | None:
        at = index_of.get(reference.names[index])
        if at is None or not scene.registered[at]:
            return None
        depth = np.where(is_known(scene.confidences[at]), scene.depths[at], np.float32(0))
        raster = DepthRaster(depth=depth, matrix=scene.network_from_image[at])
        scale = _scale(reference, index, raster)
        return None if scale is None else DepthRaster(depth=depth * np.float32(scale), matrix=raster.matrix)

    return read


def read_depth(path: Path, unit: float) -> Float32[np.ndarray, "h w"]:
    """Read a depth map; 0 where unknown.

    Args:
        path: 16-bit PNG or TIFF (0 and 65535 are unknown), .npy, or COLMAP's .bin.
        unit: world units of a step of PNG and TIFF files.

    Raises:
        InputError: the file is not a depth map.
    """
    try:
        if path.suffix == ".npy":
            depth = np.load(path, allow_pickle=False).astype(np.float32)
        elif path.suffix == ".bin":
            from dust3r_sfm.system._pycolmap import pycolmap

            stored = pycolmap.DepthMap()
            stored.read(path)
            depth = np.asarray(stored.to_array(), np.float32)
        else:
            steps = np.asarray(decode(path)).astype(np.float32)
            depth = np.where(steps < _SENSOR_MAX, steps * np.float32(unit), np.float32(0))
        if depth.ndim != 2:
            raise ValueError(f"it has {depth.ndim} dimensions")
    except Exception as error:  # decoders raise anything on damaged files
        raise InputError(
            f"{path} is not a depth map that can be read ({error}); export it again.", path=path
        ) from error
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))


def _pinhole(camera: Any) -> Float64[np.ndarray, "3 3"]:
    """Matrix of a `pycolmap.Camera` for a picture of width and height 1."""
    matrix: Float64[np.ndarray, "3 3"] = (
        np.diag([1 / camera.width, 1 / camera.height, 1.0]) @ camera.calibration_matrix()
    )
    return matrix


def _find(folder: Path, name: str) -> Path | None:
    path = PurePosixPath(name)
    stems = [path.name, path.stem, *({f"{path.name.split('.')[0]}.depth", path.name.split(".")[0]} - {path.stem})]
    for parent in dict.fromkeys([folder / path.parent, folder]):
        for stem in stems:
            for suffix in (".geometric.bin", ".photometric.bin", *_SUFFIXES):
                candidate = parent / f"{stem}{suffix}"
                if candidate.is_file():
                    return candidate
    return None


def _scale(reference: Reference, index: int, raster: DepthRaster) -> float | None:
    """Median of the points' depths over the map's depths; None where too few points can tell."""
    pose = reference.cam_from_world[index]
    xy, world = reference.observations(index)
    ratio = (world @ pose[2, :3] + pose[2, 3]) / sample_depth(
        raster.depth, xy @ raster.matrix[:2, :2].T + raster.matrix[:2, 2]
    )
    ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
    return float(np.median(ratio)) if len(ratio) >= _MIN_POINTS else None
