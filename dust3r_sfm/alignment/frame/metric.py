"""Whose world a scene is in: that of measured positions, of surveyed points, or an upright one of its own."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.alignment.frame.control import fit_control
from dust3r_sfm.alignment.frame.georegister import fit_positions, spread_of
from dust3r_sfm.alignment.frame.upright import Down, find_down, level_from_world
from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import apply, centres
from dust3r_sfm.images.priors.control_points import MIN_POINTS
from dust3r_sfm.options import KnownOptions
from dust3r_sfm.tracks.cameras import posed_cameras
from dust3r_sfm.types import Positions, Priors, Scene

_MIN_NUM_POSITIONS = 4
"""Three positions always fit somehow; the fourth is the first check."""
_MIN_SPREAD_OF_MISS = 2.0
"""The positions must spread by so many times what they miss the cameras by, or they do not tell the scene's size;
chosen by hand."""
_MIN_WIDTH_OF_LENGTH = 0.05
"""Width of the cameras' track, below which the similarity is open; chosen by hand."""


def in_world(scene: Scene, options: KnownOptions, priors: Priors | None, seed: int = 0) -> Scene:
    """Bring a scene into the world of what is measured, as the options say; without any of it, upright.

    Known poses stay. Where nothing says which way is up, the scene stays as it is.

    Args:
        scene: in a frame and unit of its own.
        options: `georegister` and `gps`: a similarity to the positions; `control_points`: one to the points;
            `scale_distance`: the scene's size; `upright`: z up, and the first camera looks along y.
        priors: what is measured, of the scene's images.
        seed: of RANSAC.

    Returns:
        The scene, with the priors that its world is that of.

    Raises:
        InputError: too few, too close or contradicting positions or points; a name that is not in the model, or a
            distance that is not positive.
    """
    if scene.known_poses.any() or priors is None:
        return scene
    if priors.control is not None:
        return _surveyed(scene, priors, seed)
    if options.georegister or options.gps is not None:
        return _georegistered(scene, priors, seed)
    own = Priors(gravity=priors.gravity)
    if options.scale_distance is not None:
        scene, own = _scaled(scene, *options.scale_distance), replace(own, distance=_distance(scene, options))
    return _upright(scene, own) if options.upright else replace(scene, priors=own)


def part_in_world(scene: Scene, options: KnownOptions, priors: Priors | None, seed: int = 0) -> Scene:
    """The same for a part that stays apart from the first: what does not place it leaves it upright."""
    try:
        return in_world(scene, replace(options, scale_distance=None), priors, seed)
    except InputError:
        own = KnownOptions(upright=options.upright)
        return in_world(scene, own, priors and Priors(gravity=priors.gravity), seed)


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


def _distance(scene: Scene, options: KnownOptions) -> tuple[int, int, float]:
    assert options.scale_distance is not None, "asked for by the caller"
    name1, name2, metres = options.scale_distance
    return scene.names.index(name1), scene.names.index(name2), metres


def _down(scene: Scene, priors: Priors) -> Down | None:
    gravity = None if priors.gravity is None else priors.gravity[scene.registered]
    return find_down(scene.cam_from_world[scene.registered], gravity)


def _upright(scene: Scene, priors: Priors) -> Scene:
    down = _down(scene, priors)
    if down is None:
        return replace(scene, priors=priors)
    level = np.eye(4)
    level[:3, :3] = level_from_world(down.direction, scene.cam_from_world[scene.registered])
    return replace(transform_scene(scene, level), priors=replace(priors, upright=True))


def _georegistered(scene: Scene, priors: Priors, seed: int) -> Scene:
    positions = priors.positions
    known = np.zeros(0, np.int64)
    if positions is not None:
        known = np.flatnonzero(scene.registered & np.isfinite(positions.xyz).all(1))
    if positions is None or len(known) < _MIN_NUM_POSITIONS:
        raise InputError(
            f"{len(known)} photographs of the model have a GPS position; placing it takes {_MIN_NUM_POSITIONS}: give "
            "--gps with more, or --scale-distance, which needs none."
        )
    down = _down(scene, priors)
    spread = spread_of(positions.xyz[known])
    if spread[1] <= _MIN_WIDTH_OF_LENGTH * spread[0]:
        raise InputError(
            "The GPS positions lie on a line or in one place, which leaves open what is up; give --scale-distance "
            "instead."
        )
    measured = Positions(xyz=positions.xyz[known], sigmas=positions.sigmas[known])
    fit = fit_positions(centres(scene.cam_from_world)[known], measured, down, seed)
    if fit is None or fit.spread[0] < _MIN_SPREAD_OF_MISS * fit.miss:
        miss = np.inf if fit is None else fit.miss
        raise InputError(
            f"The GPS positions spread over {spread[0]:.1f} m and miss the cameras by {miss:.1f} m, too much to tell "
            "the size of the scene; give --scale-distance instead."
        )
    return replace(transform_scene(scene, fit.world_from_model), priors=replace(priors, upright=True))


def _surveyed(scene: Scene, priors: Priors, seed: int) -> Scene:
    assert priors.control is not None, "asked for by the caller"
    fit = fit_control(priors.control, posed_cameras(scene), seed)
    if fit is None:
        raise InputError(
            f"Fewer than {MIN_POINTS} control points agree with the model; check their coordinates and marks, or mark "
            "them in more photographs that the model holds."
        )
    return replace(transform_scene(scene, fit.world_from_model), priors=replace(priors, upright=True))
