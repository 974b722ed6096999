"""Random scenes: open places, rooms, facades, and single things before a patterned wall."""

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from dust3r_sfm.synthetic.generator.bank import SIDE_TEXELS
from dust3r_sfm.synthetic.generator.scenes import (
    NUM_FACES,
    NUM_OBJECTS,
    NUM_SURFACES,
    NUM_WAVES,
    Scenes,
)

Array = np.ndarray
OPEN_PLACE, ROOM, FACADE, SINGLE = range(4)
_KIND_SHARES = (0.4, 0.3, 0.2, 0.1)
"""Of the scenes, by kind: chosen by hand."""
_MIN_OBJECTS = 8
"""Of a scene that is not a single thing: chosen by hand."""
_BELOW_METRES = -60.0
"""Objects that a scene does not have lie so far under its floor."""
_LOG_SIZE_METRES = np.log(0.28)
"""Logarithm of the median size of an object: chosen by hand."""
_HILLY_SHARE, _PLAIN_SHARE, _WALL_MOUNTED_SHARE = 0.25, 0.15, 0.15
"""Of the floors outdoors, of the surfaces, and of the objects in rooms: chosen by hand."""
_FLOOR_FACE = 4
"""Number of the floor among the faces of the shell, from 0."""


def draw_scenes(rng: Generator, count: int, num_pictures: int) -> tuple[Scenes, Int64[np.ndarray, " s"]]:
    """Draw scenes and their kinds.

    Args:
        rng: of all draws.
        count: how many.
        num_pictures: in the bank that textures are chosen from.
    """
    kind = rng.choice(4, count, p=_KIND_SHARES)
    shell, is_open = _shells(rng, kind)
    half_size, rotation, centre, is_present = _objects(rng, kind, shell)
    linear = rotation.swapaxes(-1, -2) / half_size[..., None]
    offset = -(linear @ centre[..., None])
    shell_linear = np.eye(3) / shell[:, :, None]
    shell_offset = np.zeros((count, 3, 1))
    shell_offset[:, 2] = -1
    light, sun, ambient, sky = _lights(rng, kind, shell)
    arrays = {
        "unit_from_world": np.concatenate([linear, offset], axis=-1),
        "is_present": is_present,
        "half_size": half_size,
        "shell_from_world": np.concatenate([shell_linear, shell_offset], axis=-1),
        "shell_half_size": shell,
        "is_open": is_open,
        "waves": _waves(rng, kind),
        "light": light,
        "sun": sun,
        "ambient": ambient,
        "sky": sky,
        **_materials(rng, count, num_pictures),
    }
    return Scenes(**{name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}), kind


def _shells(rng: Generator, kind: Int64[np.ndarray, " s"]) -> tuple[Array, Array]:
    """Half sizes of the shells, whose floor is at z = 0, and which of their faces show the sky."""
    count, inside = len(kind), kind == ROOM
    half = np.stack([rng.uniform(5, 12, count), rng.uniform(5, 12, count), np.full(count, 8.0)], axis=-1)
    half[inside] = rng.uniform((1.8, 1.8, 1.15), (4, 4, 1.8), (int(inside.sum()), 3))
    walled = np.isin(kind, (FACADE, SINGLE))
    half[walled, 1] = rng.uniform(1.5, 4, int(walled.sum()))
    is_open = np.ones((count, NUM_FACES), bool)
    is_open[:, :4] = rng.uniform(size=(count, 4)) < 0.7
    is_open[walled, 2] = False
    is_open[inside] = False
    is_open[:, _FLOOR_FACE] = False
    return half, is_open


def _objects(rng: Generator, kind: Int64[np.ndarray, " s"], shell: Array) -> tuple[Array, Array, Array, Array]:
    """Half sizes, rotations (world from object) and centres, and which objects there are."""
    count, shape = len(kind), (len(kind), NUM_OBJECTS)
    size = np.exp(rng.normal(_LOG_SIZE_METRES, 0.55, shape))
    half_size = size[..., None] * np.exp(rng.normal(0, 0.35, (*shape, 3)))
    rods = rng.uniform(size=shape) < 0.08
    half_size[rods] *= np.array([0.12, 0.12, 1.6])
    aligned = rng.uniform(size=shape) < rng.uniform(0.25, 0.85, (count, 1))
    turn = rng.normal(size=(*shape, 4))
    turn[aligned, :2] = 0  # about z alone
    square = aligned & (rng.uniform(size=shape) < 0.4)
    turn[square] = [0, 0, 0, 1]
    rotation = Rotation.from_quat(turn.reshape(-1, 4)).as_matrix().reshape(*shape, 3, 3)
    spread = np.where(kind == SINGLE, 0.7, 1.3)[:, None, None] * np.ones((1, 1, 2))
    spread[kind == ROOM] = 0.6 * shell[kind == ROOM, None, :2]
    xy = np.where((kind == ROOM)[:, None, None], rng.uniform(-1.4, 1.4, (*shape, 2)), rng.normal(size=(*shape, 2)))
    centre = np.concatenate([xy * spread, np.zeros((*shape, 1))], axis=-1)
    rise = np.abs(rotation[..., 2, :] * half_size).sum(-1)
    on_top = rng.uniform(size=shape) < 0.25
    centre[..., 2] = rise + on_top * rng.uniform(0.2, 1.2, shape)
    mounted = rng.uniform(size=shape) < _WALL_MOUNTED_SHARE
    mounted |= (kind == FACADE)[:, None] & (rng.uniform(size=shape) < 0.5)
    mounted &= (kind != OPEN_PLACE)[:, None]
    centre[..., 1] = np.where(mounted, shell[:, None, 1] - 0.3 * half_size[..., 1], centre[..., 1])
    centre[..., 2] = np.where(mounted, rng.uniform(0.3, 2.2, shape), centre[..., 2])
    number = np.where(kind == SINGLE, rng.integers(1, 4, count), rng.integers(_MIN_OBJECTS, NUM_OBJECTS + 1, count))
    absent = rng.permuted(np.tile(np.arange(NUM_OBJECTS), (count, 1)), axis=1) >= number[:, None]
    centre[absent] = [0, 0, _BELOW_METRES]
    half_size[(kind == SINGLE)] *= 1.8
    return half_size, rotation, centre, ~absent


def _waves(rng: Generator, kind: Int64[np.ndarray, " s"]) -> Float64[np.ndarray, "s w 4"]:
    """Uneven ground in the open."""
    shape = (len(kind), NUM_WAVES)
    length, angle = np.exp(rng.uniform(np.log(0.8), np.log(5), shape)), rng.uniform(0, 2 * np.pi, shape)
    amplitude = rng.uniform(0.01, 0.05, shape) * length
    amplitude[(rng.uniform(size=len(kind)) > _HILLY_SHARE) | (kind == ROOM)] = 0
    number = 2 * np.pi / length
    return np.stack(
        [number * np.cos(angle), number * np.sin(angle), rng.uniform(0, 2 * np.pi, shape), amplitude], axis=-1
    )


def _lights(rng: Generator, kind: Int64[np.ndarray, " s"], shell: Array) -> tuple[Array, Array, Array, Array]:
    """Place and colours of the light, and the sky's."""
    count = len(kind)
    direction = rng.normal(size=(count, 3))
    direction[:, 2] = np.abs(direction[:, 2]) + 0.4
    direction[np.isin(kind, (FACADE, SINGLE)), 1] *= -np.sign(direction[np.isin(kind, (FACADE, SINGLE)), 1])
    light = 25 * direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    inside = kind == ROOM
    light[inside] = shell[inside] * rng.uniform((-0.7, -0.7, 1.5), (0.7, 0.7, 1.95), (int(inside.sum()), 3))
    tint = 1 + 0.12 * rng.normal(size=(count, 3))
    sun = rng.uniform(0.4, 1.1, (count, 1)) * tint
    ambient = rng.uniform(0.2, 0.6, (count, 1)) * (1 + 0.1 * rng.normal(size=(count, 3)))
    sky = rng.uniform((0.5, 0.55, 0.6), (1, 1, 1), (count, 2, 3)) * rng.uniform(0.5, 1.1, (count, 2, 1))
    return light, np.clip(sun, 0.1, 2), np.clip(ambient, 0.05, 1), sky


def _materials(rng: Generator, count: int, num_pictures: int) -> dict[str, Array]:
    shape = (count, NUM_SURFACES)
    # A few pictures per scene: real places repeat their materials.
    palette = rng.integers(num_pictures, size=(count, 12))
    texture = np.take_along_axis(palette, rng.integers(12, size=shape), axis=1)
    contrast = np.where(rng.uniform(size=shape) < _PLAIN_SHARE, 0.04, rng.uniform(0.5, 1.2, shape))[..., None]
    gain = contrast * (1 + 0.25 * rng.normal(size=(*shape, 3)))
    tone = rng.uniform(0.05, 0.7, (*shape, 1)) * (1 + 0.3 * rng.normal(size=(*shape, 3)))
    return {
        "texture": texture,
        "density": SIDE_TEXELS / np.exp(rng.uniform(np.log(0.4), np.log(4), shape)),
        "shift": rng.uniform(0, 2 * SIDE_TEXELS, (*shape, 2)),
        "gain": gain,
        "bias": tone * np.where(contrast < 0.1, 1.0, rng.uniform(0, 0.4, (*shape, 1))),
        "gloss": np.where(rng.uniform(size=shape) < 0.3, rng.uniform(0, 0.5, shape), 0.0),
    }
