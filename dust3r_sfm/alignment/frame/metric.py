"""A scene in metres: placed by the photographs' GPS positions, or scaled by one known distance."""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float64
from PIL import Image

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import apply, centres
from dust3r_sfm.images.exif import read_gps
from dust3r_sfm.options import KnownOptions
from dust3r_sfm.types import Scene

_MAX_GPS_ERROR_METRES = 10.0
"""A position is wrong that misses its camera by more than this; chosen by hand."""
_MIN_NUM_POSITIONS = 4
"""Three positions always fit somehow; the fourth is the first check."""
_MIN_SPREAD_OF_MISS = 2.0
"""The positions must spread by so many times what they miss the cameras by, or they do not tell the scene's size;
chosen by hand."""
_MIN_WIDTH_OF_LENGTH = 0.05
"""Width of the cameras' track, below which nothing tells which way is up; chosen by hand."""


def metric_scene(scene: Scene, options: KnownOptions, seed: int = 0) -> Scene:
    """Bring a scene into metres as the options say; without either option it stays as it is.

    Args:
        scene: in a frame and unit of its own.
        options: `georegister`: east, north, up of the first photograph with a GPS position (a similarity to all
            positions by LO-RANSAC of pycolmap); `scale_distance`: the scene's size alone changes.
        seed: of RANSAC.

    Raises:
        InputError: both options, or known poses beside one of them; too few, too close or contradicting positions; a
            name that is not in the model, or a distance that is not positive.
    """
    if not options.georegister and options.scale_distance is None:
        return scene
    if options.georegister and options.scale_distance is not None:
        raise InputError("--georegister and --scale-distance both set the scale; give one of them.")
    if scene.known_poses.any():
        raise InputError("--poses sets the frame and scale already; drop --georegister and --scale-distance.")
    if options.scale_distance is not None:
        return _scaled(scene, *options.scale_distance)
    return _georegistered(scene, seed)


def transform_scene(scene: Scene, new_from_world: Float64[np.ndarray, "4 4"]) -> Scene:
    """Move a scene by a similarity (scale times rotation in the upper left 3 × 3)."""
    scale = float(np.cbrt(np.linalg.det(new_from_world[:3, :3])))
    rotation = new_from_world[:3, :3] / scale
    rotations = scene.cam_from_world[:, :, :3] @ rotation.T
    moved = apply(new_from_world, centres(scene.cam_from_world))
    cam_from_world = np.concatenate([rotations, -rotations @ moved[:, :, None]], axis=2)
    covariances = scene.covariances
    if covariances is not None:
        turn = np.kron(np.diag([1.0, scale]), rotation)
        covariances = turn @ covariances @ turn.T
    return replace(
        scene,
        cam_from_world=cam_from_world,
        depths=tuple((depth * np.float32(scale)).astype(np.float32) for depth in scene.depths),
        world_from_edge=new_from_world @ scene.world_from_edge,
        covariances=covariances,
    )


def _scaled(scene: Scene, name1: str, name2: str, metres: float) -> Scene:
    """Give the cameras of two photographs the distance that they had."""
    registered = [name for name, placed in zip(scene.names, scene.registered, strict=True) if placed]
    for name in (name1, name2):
        if name not in registered:
            raise InputError(f"--scale-distance names {name}, which is not in the model; it has {registered[0]}, ….")
    if name1 == name2 or not np.isfinite(metres) or metres <= 0:
        raise InputError("--scale-distance needs two photographs and the distance between them, above 0 metres.")
    first, second = centres(scene.cam_from_world)[[scene.names.index(name1), scene.names.index(name2)]]
    return transform_scene(scene, np.diag([*[metres / float(np.linalg.norm(second - first))] * 3, 1.0]))


def _georegistered(scene: Scene, seed: int) -> Scene:
    from dust3r_sfm.system._pycolmap import pycolmap

    indices, positions = _gps_positions(scene)
    if len(indices) < _MIN_NUM_POSITIONS:
        raise InputError(
            f"{len(indices)} photographs of the model have a GPS position in EXIF; --georegister needs "
            f"{_MIN_NUM_POSITIONS}, --scale-distance none."
        )
    spread = np.linalg.svd(positions - positions.mean(0), compute_uv=False) / np.sqrt(len(positions))
    if spread[1] <= _MIN_WIDTH_OF_LENGTH * spread[0]:
        raise InputError(
            "The GPS positions lie on a line or in one place, which leaves open what is up; give --scale-distance "
            "instead."
        )
    options = pycolmap.RANSACOptions()
    options.max_error, options.random_seed = _MAX_GPS_ERROR_METRES, seed
    cameras = centres(scene.cam_from_world)[indices]
    found: Any = pycolmap.estimate_sim3d_robust(cameras, positions, options)
    miss, num_inliers = np.inf, 0
    if found is not None:
        misses = np.linalg.norm(found["tgt_from_src"] * cameras - positions, axis=1)[found["inlier_mask"]]
        miss, num_inliers = float(np.sqrt((misses**2).mean())), len(misses)
    if found is None or num_inliers < _MIN_NUM_POSITIONS or spread[0] < _MIN_SPREAD_OF_MISS * miss:
        raise InputError(
            f"The GPS positions spread over {spread[0]:.1f} m and miss the cameras by {miss:.1f} m, too much to tell "
            "the size of the scene; give --scale-distance instead."
        )
    moved = transform_scene(scene, np.vstack([found["tgt_from_src"].matrix(), [0, 0, 0, 1]]))
    sentence = (
        f"The model is in metres east, north and up of the GPS position of {scene.names[indices[0]]}; the positions of "
        f"{num_inliers} of {len(indices)} photographs fit their cameras to {miss:.2f} m."
    )
    return replace(moved, warnings=(*scene.warnings, sentence))


def _gps_positions(scene: Scene) -> tuple[list[int], Float64[np.ndarray, "g 3"]]:
    """Registered images with a GPS position, and the positions in metres east, north and up of the first."""
    from dust3r_sfm.system._pycolmap import pycolmap

    found = {}
    for index in np.flatnonzero(scene.registered).tolist():
        with Image.open(scene.image_root / scene.names[index]) as image:
            position = read_gps(image)
        if position is not None:
            found[index] = position
    if not found:
        return [], np.empty((0, 3))
    # Heights count only where all have one: a missing one would tilt the scene.
    has_height = all(altitude is not None for _, _, altitude in found.values())
    table = np.array(
        [(latitude, longitude, (altitude or 0.0) * has_height) for latitude, longitude, altitude in found.values()]
    )
    return list(found), np.asarray(pycolmap.GPSTransform().ellipsoid_to_enu(table, *table[0].tolist()))
