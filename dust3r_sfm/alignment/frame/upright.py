"""Which way is down: as the cameras' sensors say, or as most photographs are taken, with a level horizon."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

_MAX_COMPARED = 60
"""Photographs whose pairs propose a direction, evenly spaced; chosen by hand."""
_LEVEL_DEGREES = 6.0
"""A photograph that is rolled further is not held level; chosen by hand."""
_SAME_GRAVITY_DEGREES = 10.0
"""Sensors that differ by more contradict each other; chosen by hand."""
_MIN_PHOTOGRAPHS = 3
_MIN_SHARE_OF_PHOTOGRAPHS = 0.6
"""So many must agree; chosen by hand."""
_MIN_TURN_DEGREES = 5.0
"""Photographs that look less far apart, in the root mean square, leave their common pitch open; chosen by hand."""
_MIN_SHARE_OF_SAME_SIDE, _MIN_MEAN_DOWN = 0.8, 0.3
"""Share of photographs that must have their lower side down, and the mean cosine of the cameras' y axes with down: of
cameras that look at the ground, both sides are as good; chosen by hand."""
_MAX_SIGMA_DEGREES = 3.0
"""A direction that is less sure is not taken; chosen by hand."""
_SENSOR_SIGMA_DEGREES = 0.5
"""Of an attitude sensor; chosen by hand."""
_ROUNDS = 5
"""Of fitting to the photographs that agree; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Down:
    """A downward direction.

    Attributes:
        direction: of length 1, in the world (3,).
        sigma_degrees: how sure it is.
    """

    direction: Float64[np.ndarray, " 3"]
    sigma_degrees: float


def find_down(
    cam_from_world: Float64[np.ndarray, "k 3 4"], gravity: Float64[np.ndarray, "k 3"] | None = None
) -> Down | None:
    """Find the downward direction that most cameras agree on.

    Sensors come first. Without them the horizontal axes of photographs that are held level span the horizontal plane,
    whatever their pitch: its normal is down.

    Args:
        cam_from_world: poses of the upright cameras.
        gravity: downward directions in their frames, NaN where unknown.

    Returns:
        The direction; None where it is not defined: photographs of the ground, rolled ones, or all in one direction.
    """
    if gravity is not None:
        known = np.isfinite(gravity).all(1)
        found = _of_sensors(np.einsum("kji,kj->ki", cam_from_world[known, :, :3], gravity[known]))
        if found is not None:
            return found
    return _of_level_photographs(cam_from_world)


def level_from_world(
    down: Float64[np.ndarray, " 3"], cam_from_world: Float64[np.ndarray, "k 3 4"]
) -> Float64[np.ndarray, "3 3"]:
    """The rotation into a world with z up, in which the first camera looks along y as far as it looks ahead."""
    up = -down / np.linalg.norm(down)
    ahead = cam_from_world[0, 2, :3]
    if abs(ahead @ up) > 0.9:  # it looks up or down: the top of its picture is ahead
        ahead = -cam_from_world[0, 1, :3]
    ahead = ahead - (ahead @ up) * up
    ahead /= np.linalg.norm(ahead)
    return np.stack([np.cross(ahead, up), ahead, up])


def _of_sensors(downs: Float64[np.ndarray, "k 3"]) -> Down | None:
    if len(downs) < _MIN_PHOTOGRAPHS:
        return None
    direction = np.median(downs, axis=0)
    agreeing = np.ones(len(downs), bool)
    for _ in range(_ROUNDS):
        direction = direction / max(float(np.linalg.norm(direction)), 1e-12)
        agreeing = downs @ direction > np.cos(np.radians(_SAME_GRAVITY_DEGREES))
        if agreeing.sum() < max(_MIN_PHOTOGRAPHS, _MIN_SHARE_OF_PHOTOGRAPHS * len(downs)):
            return None
        direction = downs[agreeing].mean(0)
    direction = direction / np.linalg.norm(direction)
    # Their errors are those of one mounting or compass, so more photographs do not make them smaller without end.
    return Down(direction=direction, sigma_degrees=_SENSOR_SIGMA_DEGREES)


def _of_level_photographs(cam_from_world: Float64[np.ndarray, "k 3 4"]) -> Down | None:
    rights, downs = cam_from_world[:, 0, :3], cam_from_world[:, 1, :3]
    count = len(rights)
    if count < _MIN_PHOTOGRAPHS:
        return None
    some = rights[np.linspace(0, count - 1, min(count, _MAX_COMPARED)).astype(np.int64)]
    first, second = np.triu_indices(len(some), 1)
    normals = np.cross(some[first], some[second])
    lengths = np.linalg.norm(normals, axis=1)
    wide = lengths > np.sin(np.radians(_MIN_TURN_DEGREES))
    if not wide.any():
        return None
    normals = normals[wide] / lengths[wide, None]
    limit = np.sin(np.radians(_LEVEL_DEGREES))
    cost = np.minimum(np.abs(normals @ rights.T), limit) ** 2
    normal = normals[cost.sum(1).argmin()]
    for _ in range(_ROUNDS):
        level = np.abs(rights @ normal) < limit
        if level.sum() < max(_MIN_PHOTOGRAPHS, _MIN_SHARE_OF_PHOTOGRAPHS * count):
            return None
        _, spread, axes = np.linalg.svd(rights[level], full_matrices=False)
        normal = axes[2]
    spread = spread / np.sqrt(level.sum())
    cosines = downs[level] @ normal
    sign = 1.0 if cosines.mean() >= 0 else -1.0
    sigma = float(np.degrees(spread[2] / spread[1] / np.sqrt(level.sum() - 2))) if spread[1] > 0 else np.inf
    if (
        spread[1] < np.sin(np.radians(_MIN_TURN_DEGREES))
        or sigma > _MAX_SIGMA_DEGREES
        or abs(cosines.mean()) < _MIN_MEAN_DOWN
        or (sign * cosines > 0).mean() < _MIN_SHARE_OF_SAME_SIDE
    ):
        return None
    return Down(direction=sign * normal, sigma_degrees=sigma)
