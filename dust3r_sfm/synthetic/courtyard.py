"""A walled courtyard with crates, plinths, balls and columns, different for every random generator."""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float64
from numpy.random import Generator

from dust3r_sfm.synthetic import textures
from dust3r_sfm.synthetic.light import NOON, lit
from dust3r_sfm.synthetic.surfaces import Column, Quad, Sphere, Surface
from dust3r_sfm.synthetic.textures import Picture
from dust3r_sfm.synthetic.world import World
from dust3r_sfm.types import Size

_HALF_SIDE_METRES, _WALL_HEIGHT_METRES = 5.2, 4.0
"""The square court and its walls: chosen by hand."""
TEXELS_PER_METRE, OBJECT_TEXELS_PER_METRE = 200, 360
"""Of ground and walls, and of the objects, which cameras come nearer to: chosen by hand."""
FREE_RADIUS_METRES = 2.6
"""Objects stand within this distance of the middle; cameras may be anywhere outside it: chosen by hand."""
_UP = np.array([0.0, 0.0, 1.0])

Painter = Callable[[Generator, Size], Picture]


def make_world(rng: Generator, sun: tuple[float, float, float] = NOON) -> World:
    """Build a courtyard: about sixty surfaces within 5.2 m of the origin, ground at z = 0, open to the sky.

    The direction to the sun changes nothing but the light.
    """
    parts = _Parts()
    _ground_and_walls(parts, rng)
    for angle in np.pi / 4 + np.pi / 2 * np.arange(4):
        _column(parts, rng, 5.6 * np.array([np.cos(angle), np.sin(angle)]))
    _box(parts, rng, np.zeros(2), rng.uniform(0, np.pi), (0.7, 0.7, 0.9), _stone(rng))
    _ball(parts, rng, np.array([0, 0, 0.9 + 0.42]), 0.42)
    for place in _free_places(rng, 7):
        _object(parts, rng, place)
    pictures = [(255 * np.clip(picture, 0, 1)).astype(np.uint8) for picture in parts.pictures]
    return lit(World(parts.surfaces, pictures), sun)


class _Parts:
    def __init__(self) -> None:
        self.surfaces: list[Surface] = []
        self.pictures: list[Picture] = []

    def add(self, surface: Surface, picture: Picture) -> None:
        self.surfaces.append(surface)
        self.pictures.append(picture)


def _pixels(surface: Surface, density: int) -> Size:
    width, height = surface.size
    return round(width * density), round(height * density)


def _ground_and_walls(parts: _Parts, rng: Generator) -> None:
    side = 2 * _HALF_SIDE_METRES
    ground = Quad(
        corner=np.array([-_HALF_SIDE_METRES, _HALF_SIDE_METRES, 0]),
        side_u=np.array([side, 0, 0]),
        side_v=np.array([0, -side, 0]),
    )
    parts.add(ground, textures.slabs(rng, _pixels(ground, TEXELS_PER_METRE), cell=105))
    for number, angle in enumerate(np.pi / 2 * np.arange(4)):
        inward = -np.array([np.cos(angle), np.sin(angle), 0])
        along = np.cross(_UP, inward)
        wall = Quad(
            corner=-_HALF_SIDE_METRES * (inward + along) + _WALL_HEIGHT_METRES * _UP,
            side_u=side * along,
            side_v=-_WALL_HEIGHT_METRES * _UP,
        )
        size = _pixels(wall, TEXELS_PER_METRE)
        picture = textures.bricks(rng, size, course=18) if number % 2 == 0 else textures.plaster(rng, size)
        _decorate(picture, rng)
        parts.add(wall, picture)


def _decorate(wall: Picture, rng: Generator) -> None:
    """Hang a row of posters, windows and doors of different sizes on a wall, in place."""
    height, width = wall.shape[:2]
    left = int(rng.uniform(0.02, 0.08) * width)
    while left < 0.9 * width:
        size = (int(rng.uniform(0.07, 0.15) * width), int(rng.uniform(0.22, 0.45) * height))
        if rng.uniform() < 0.25:
            size = (width // 10, height * 27 // 50)
            patch = textures.planks(rng, (size[1], size[0]), 42, tuple(rng.uniform(0.15, 0.6, 3))).swapaxes(0, 1)
            textures.paste(wall, patch, left, height - size[1])
        else:
            top = int(rng.uniform(0.08, 0.42) * height)
            textures.paste(wall, textures.poster(rng, size), left, top)
        left += size[0] + int(rng.uniform(60, 240))


def _column(parts: _Parts, rng: Generator, place: Float64[np.ndarray, "2"]) -> None:
    column = Column(foot=np.array([*place, 0]), radius=0.34, height=3.6)
    parts.add(column, textures.seamless(_stone(rng)(rng, _pixels(column, TEXELS_PER_METRE))))
    _box(parts, rng, place, 0.0, (0.9, 0.9, 0.3), _stone(rng), bottom=3.6)


def _ball(parts: _Parts, rng: Generator, centre: Float64[np.ndarray, "3"], radius: float) -> None:
    ball = Sphere(centre=centre, radius=radius)
    parts.add(ball, textures.seamless(_stone(rng)(rng, _pixels(ball, OBJECT_TEXELS_PER_METRE))))


def _box(
    parts: _Parts,
    rng: Generator,
    place: Float64[np.ndarray, "2"],
    yaw: float,
    size: tuple[float, float, float],
    paint: Painter,
    bottom: float = 0.0,
) -> None:
    """Stand a box on `bottom`: four sides, and a top or, where it hangs, an underside."""
    x, y = np.array([np.cos(yaw), np.sin(yaw), 0]), np.array([-np.sin(yaw), np.cos(yaw), 0])
    middle = np.array([*place, bottom + size[2] / 2])
    half = np.array(size) / 2
    faces = [(x, half[0], half[1]), (y, half[1], half[0]), (-x, half[0], half[1]), (-y, half[1], half[0])]
    quads = []
    for normal, reach, across in faces:
        side_u = 2 * across * np.cross(_UP, normal)
        quads.append(
            Quad(corner=middle + reach * normal - side_u / 2 + half[2] * _UP, side_u=side_u, side_v=-size[2] * _UP)
        )
    lid = Quad(corner=middle + half[2] * _UP - half[0] * x + half[1] * y, side_u=size[0] * x, side_v=-size[1] * y)
    underside = Quad(corner=middle - half[2] * _UP - half[0] * x - half[1] * y, side_u=size[0] * x, side_v=size[1] * y)
    for quad in [*quads, lid if bottom < 1.5 else underside]:
        parts.add(quad, paint(rng, _pixels(quad, OBJECT_TEXELS_PER_METRE)))


def _stone(rng: Generator) -> Painter:
    """Choose one kind of marble for all sides of an object."""
    return partial(textures.marble, stone=int(rng.integers(len(textures.STONES))))


def _crate(rng: Generator, size: Size) -> Picture:
    """Boards within a frame of boards."""
    picture = textures.planks(rng, size, board=46)
    frame = textures.planks(rng, (max(size), 34), board=34, base=(0.5, 0.36, 0.22))
    for top in (0, size[1] - 34):
        textures.paste(picture, frame[:, : size[0]], 0, top)
    for left in (0, size[0] - 34):
        textures.paste(picture, frame[:, : size[1]].swapaxes(0, 1), left, 0)
    return picture


def _object(parts: _Parts, rng: Generator, place: Float64[np.ndarray, "2"]) -> None:
    """Put a crate, a painted box or a stone, some with a ball or a smaller box on top, or a ball alone."""
    kind = rng.uniform()
    yaw = rng.uniform(0, np.pi)
    if kind < 0.15:
        radius = rng.uniform(0.3, 0.45)
        _ball(parts, rng, np.array([*place, radius]), radius)
        return
    width, depth, height = rng.uniform(0.5, 0.85), rng.uniform(0.5, 0.85), rng.uniform(0.35, 1.0)
    paint: Painter = _crate if kind < 0.5 else textures.poster if kind < 0.8 else _stone(rng)
    _box(parts, rng, place, yaw, (width, depth, height), paint)
    top = rng.uniform()
    if top < 0.35:
        radius = rng.uniform(0.16, 0.26)
        _ball(parts, rng, np.array([*place, height + radius]), radius)
    elif top < 0.65:
        _box(parts, rng, place, yaw + rng.uniform(0.2, 1.2), (0.34, 0.3, 0.3), textures.poster, bottom=height)


def _free_places(rng: Generator, num_places: int) -> Float64[np.ndarray, "n 2"]:
    """Return places for objects around the middle that leave each other room."""
    places = np.empty((0, 2))
    while len(places) < num_places:
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(1.1, FREE_RADIUS_METRES - 0.5)
        place = radius * np.array([np.cos(angle), np.sin(angle)])
        if (np.linalg.norm(places - place, axis=-1) > 1.1).all():
            places = np.concatenate([places, [place]])
    return places
