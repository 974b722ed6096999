"""Daylight on a world: sun with soft shadows and an open sky, computed once and painted into the textures."""

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from dust3r_sfm.synthetic.surfaces import Surface
from dust3r_sfm.synthetic.world import Texture, World

TEXELS_PER_METRE = 12
_MIN_TEXELS = 12
"""Size of the light maps: chosen by hand."""
_BEAM_RAYS = 1024
"""Rays that are traced together; few enough for the processor's cache: chosen by hand."""
NOON = (0.45, -0.5, 0.85)
"""Direction to the sun of sample scenes, of any length: chosen by hand."""
_SUN_RADIUS_RADIANS = 0.06
"""Half the angle the sun covers; larger than the real one, for softer shadows: chosen by hand."""
NUM_SUN_RAYS, NUM_SKY_RAYS = 8, 26
"""From each texel: chosen by hand."""
_SUN_LIGHT = np.array([1.35, 1.25, 1.08])
_SKY_LIGHT = np.array([0.50, 0.57, 0.66])
_BOUNCED_LIGHT = np.array([0.17, 0.16, 0.14], np.float32)
"""RGB of each light, linear: chosen by hand."""
_GAMMA = 2.2
"""Of displays, about sRGB's."""
Daylight = tuple[Float32[np.ndarray, "r 3"], Float32[np.ndarray, "r 3"]]
"""Directions, and the RGB light from each."""


def lit(world: World, sun: tuple[float, float, float] = NOON) -> World:
    """Return the world with its light painted on: textures are times (light)^(1 / 2.2), as displays want them.

    Args:
        world: what is lit.
        sun: direction to the sun, of any length.
    """
    daylight = _daylight(np.array(sun) / np.linalg.norm(sun))
    painted = [_paint(world, *item, daylight) for item in zip(world.surfaces, world.textures, strict=True)]
    return World(world.surfaces, painted)


def _paint(world: World, surface: Surface, texture: Texture, daylight: Daylight) -> Texture:
    columns, rows = (max(_MIN_TEXELS, round(side * TEXELS_PER_METRE)) for side in surface.size)
    grid = np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
    light = _light(world, surface, np.stack(grid, axis=-1).reshape(-1, 2), daylight).reshape(rows, columns, 3)
    size = (texture.shape[1], texture.shape[0])
    smooth = cv2.resize(light ** (1 / _GAMMA), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(texture * smooth, 0, 255), np.uint8)


def _light(
    world: World, surface: Surface, uv: Float64[np.ndarray, "n 2"], daylight: Daylight
) -> Float32[np.ndarray, "n 3"]:
    """Return the light that falls on positions of a surface; all positions share the same few directions."""
    points, normals = (values.astype(np.float32) for values in surface.at(uv))
    directions, weights = daylight
    light = np.tile(_BOUNCED_LIGHT, (len(points), 1))
    above = points + 1e-3 * normals
    for direction, weight in zip(directions, weights, strict=True):
        facing = np.maximum(normals @ direction, 0)
        towards = np.flatnonzero(facing > 0)
        for part in np.array_split(towards, max(1, len(towards) // _BEAM_RAYS)):
            light[part] += np.outer(facing[part] * world.is_free(above[part], direction), weight)
    return light


def _daylight(sun: Float64[np.ndarray, " 3"]) -> Daylight:
    """Return directions to the sun's disc and over the sky (both on Fibonacci spirals), and the light from each."""
    golden = np.pi * (3 - np.sqrt(5))
    turn = golden * np.arange(NUM_SKY_RAYS)
    height = (np.arange(NUM_SKY_RAYS) + 0.5) / NUM_SKY_RAYS
    across = np.sqrt(1 - height**2)
    sky = np.stack([across * np.cos(turn), across * np.sin(turn), height], axis=-1)
    side = np.cross(sun, [0, 0, 1]) / np.linalg.norm(np.cross(sun, [0, 0, 1]))
    turn = golden * np.arange(NUM_SUN_RAYS)
    offset = _SUN_RADIUS_RADIANS * np.sqrt((np.arange(NUM_SUN_RAYS) + 0.5) / NUM_SUN_RAYS)
    disc = np.outer(offset * np.cos(turn), side) + np.outer(offset * np.sin(turn), np.cross(side, sun))
    beams = (sun + disc) / np.linalg.norm(sun + disc, axis=-1, keepdims=True)
    weights = np.repeat(
        [_SUN_LIGHT / NUM_SUN_RAYS, 2 * _SKY_LIGHT / NUM_SKY_RAYS], [NUM_SUN_RAYS, NUM_SKY_RAYS], axis=0
    )
    return np.concatenate([beams, sky]).astype(np.float32), weights.astype(np.float32)
