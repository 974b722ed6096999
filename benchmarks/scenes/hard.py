"""The rendered photographs of hard_cases.py: each case is a list of shots of one or two worlds."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import ExifTags, Image

from dust3r_sfm.geometry.pinhole import intrinsics
from dust3r_sfm.images.exif import FILM_DIAGONAL_MM
from dust3r_sfm.synthetic import textures
from dust3r_sfm.synthetic.courtyard import make_world
from dust3r_sfm.synthetic.light import NOON
from dust3r_sfm.synthetic.render import render
from dust3r_sfm.synthetic.shots import Shot, look_at
from dust3r_sfm.synthetic.surfaces import Quad
from dust3r_sfm.synthetic.world import World

SIZE, FOCAL_PX = (640, 480), 560.0
EYE, TARGET = 1.65, (0.0, 0.0, 0.85)
"""Height of the camera and what it looks at in courtyards, metres."""
NOISE_OF_255, NIGHT_NOISE_OF_255 = 1.5, 5.0
EVENING = (-0.6, 0.45, 0.35)
NIGHT_GAMMA, NIGHT_GAIN, NIGHT_COLOUR = 1.5, 0.6, (0.85, 0.9, 1.15)
"""Of the pictures taken at night, beside the other direction of the light: dark, blue and noisy, but not black."""
TEXELS_PER_METRE = 220
ARCH_COLOUR = (0.12, 0.11, 0.1)
UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """A shot, the world it is of, what is done to its picture, whether EXIF tells its focal length, and its scene."""

    shot: Shot
    world: World
    is_night: bool = False
    has_exif: bool = True
    scene: int = 0

    def exif(self) -> Image.Exif:
        """What the camera notes: the focal length in whole millimetres, or nothing."""
        exif = Image.Exif()
        if self.has_exif:
            exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "dust3r_sfm", "Hard 30"
            millimetres = FOCAL_PX / float(np.hypot(*SIZE)) * FILM_DIAGONAL_MM
            exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = round(millimetres)
        return exif

    def take(self, rng: np.random.Generator) -> np.ndarray:
        """Render the picture as a camera leaves it."""
        picture = render(self.world, self.shot.raw_cam_from_world, self.shot.intrinsics, self.shot.size)
        values, noise = picture.astype(np.float32), NOISE_OF_255
        if self.is_night:
            values = 255 * NIGHT_GAIN * (values / 255) ** NIGHT_GAMMA * np.array(NIGHT_COLOUR, np.float32)
            noise = NIGHT_NOISE_OF_255
        values = values + noise * rng.standard_normal(values.shape, np.float32)
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def shot_at(
    name: str, place: np.ndarray, target: np.ndarray, rng: np.random.Generator, is_turned: bool = False
) -> Shot:
    """A photograph held by an unsteady hand; a turned one is stored sideways, and no EXIF will say so."""
    size, orientation = SIZE, 6 if is_turned else 1
    return Shot(
        name=name,
        size=size,
        orientation=orientation,
        intrinsics=intrinsics(FOCAL_PX, size),
        cam_from_world=look_at(
            place + rng.uniform(-0.06, 0.06, 3), target + rng.uniform(-0.06, 0.06, 3), np.radians(rng.uniform(-2, 2))
        ),
    )


def orbit(angles: np.ndarray, radius: float, height: float) -> np.ndarray:
    """Places on a circle, angles in degrees (n, 3)."""
    turn = np.radians(angles)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), np.full(len(turn), height)], axis=1)


def around(world: World, num: int, step: float, rng: np.random.Generator, start: float = 15.0) -> list[Photograph]:
    """Photographs of a courtyard's middle in even steps (degrees)."""
    places = orbit(start + step * np.arange(num), 3.9, EYE)
    return [
        Photograph(shot=shot_at(f"IMG_{i:02d}.jpg", place, np.array(TARGET), rng), world=world)
        for i, place in enumerate(places)
    ]


def steps_60(rng: np.random.Generator) -> list[Photograph]:
    """Six photographs around an object, 60 degrees apart."""
    return around(make_world(rng), 6, 60.0, rng)


def three_45(rng: np.random.Generator) -> list[Photograph]:
    """Three photographs, 45 degrees apart."""
    return around(make_world(rng), 3, 45.0, rng)


def day_night(rng: np.random.Generator) -> list[Photograph]:
    """Ten photographs in steps of 12 degrees, every second at night: other light, darker, bluer, noisier."""
    seed = int(rng.integers(1 << 30))
    day, night = (make_world(np.random.default_rng(seed), sun) for sun in (NOON, EVENING))
    taken = around(day, 10, 12.0, rng)
    return [
        Photograph(shot=each.shot, world=night if i % 2 else day, is_night=bool(i % 2)) for i, each in enumerate(taken)
    ]


def turned(rng: np.random.Generator) -> list[Photograph]:
    """Ten photographs in steps of 12 degrees, every second stored sideways without EXIF."""
    world, places = make_world(rng), orbit(12.0 * np.arange(10), 3.9, EYE)
    return [
        Photograph(
            shot=shot_at(f"IMG_{i:02d}.jpg", place, np.array(TARGET), rng, is_turned=i % 2 == 1),
            world=world,
            has_exif=False,
        )
        for i, place in enumerate(places)
    ]


def two_scenes(rng: np.random.Generator) -> list[Photograph]:
    """Six photographs of each of two courtyards in one folder, by turns."""
    taken = []
    for scene in (0, 1):
        world = make_world(rng)
        for i, place in enumerate(orbit(12.0 * np.arange(6), 3.9, EYE)):
            shot = shot_at(f"IMG_{2 * i + scene:02d}.jpg", place, np.array(TARGET), rng)
            taken.append(Photograph(shot=shot, world=world, scene=scene))
    return taken


def equal_sides(rng: np.random.Generator) -> list[Photograph]:
    """Fifteen photographs all around a building of four equal sides; only roof and ground tell the sides apart."""
    return ring(building_of_equal_sides(rng), 4.2, 3.4, np.array([0, 0, 1.2]), rng)


def building_of_equal_sides(rng: np.random.Generator) -> World:
    """Four equal facades on a ground, below a roof."""
    facade = facade_picture(rng, (2.0, 2.0))
    surfaces, pictures = [level(4.5, 0.0)], [textures.slabs(rng, texels(9.0, 9.0), cell=110)]
    for angle in np.pi / 2 * np.arange(4):
        outward = np.array([np.cos(angle), np.sin(angle), 0.0])
        surfaces.append(upright(outward, outward, 2.0, 2.0))
        pictures.append(facade)
    surfaces.append(level(1.0, 2.0))
    pictures.append(decorated(textures.slabs(rng, texels(2.0, 2.0), cell=60), rng, 7))
    return painted(surfaces, pictures)


def equal_walls(rng: np.random.Generator) -> list[Photograph]:
    """Fifteen photographs inside a court of four equal walls; only the ground tells them apart."""
    wall = facade_picture(rng, (7.0, 3.2))
    surfaces, pictures = [level(3.5, 0.0)], [decorated(textures.slabs(rng, texels(7.0, 7.0), cell=110), rng, 14)]
    for angle in np.pi / 2 * np.arange(4):
        inward = -np.array([np.cos(angle), np.sin(angle), 0.0])
        surfaces.append(upright(-3.5 * inward, inward, 7.0, 3.2))
        pictures.append(wall)
    return ring(painted(surfaces, pictures), 2.6, 1.9, np.array([0, 0, 0.9]), rng)


def arcade(rng: np.random.Generator) -> list[Photograph]:
    """Twelve photographs along a wall of eight equal bays; the ground differs."""
    bay, num_bays = facade_picture(rng, (1.6, 3.0)), 8
    height, width = bay.shape[:2]
    cv2.ellipse(bay, (width // 2, height // 2), (width // 4, height // 3), 0, 180, 360, ARCH_COLOUR, -1)
    length = 1.6 * num_bays
    ground = Quad(
        corner=np.array([-length / 2 - 2, 0.0, 0.0]), side_u=np.array([length + 4, 0, 0]), side_v=np.array([0, -6.0, 0])
    )
    wall = Quad(corner=np.array([-length / 2, 0, 3.0]), side_u=np.array([length, 0, 0]), side_v=np.array([0, 0, -3.0]))
    world = painted(
        [ground, wall], [textures.slabs(rng, texels(length + 4, 6.0), cell=90), np.tile(bay, (1, num_bays, 1))]
    )
    steps = np.linspace(-length / 2 + 1.4, length / 2 - 1.4, 12)
    return [
        Photograph(
            shot=shot_at(f"IMG_{i:02d}.jpg", np.array([x, -3.2, EYE]), np.array([x + 0.25, 0.0, 1.2]), rng), world=world
        )
        for i, x in enumerate(steps)
    ]


def ring(
    world: World, radius: float, height: float, target: np.ndarray, rng: np.random.Generator, num: int = 15
) -> list[Photograph]:
    """Photographs all around a middle, or all across it."""
    return [
        Photograph(shot=shot_at(f"IMG_{i:02d}.jpg", place, target, rng), world=world)
        for i, place in enumerate(orbit(10 + 360 / num * np.arange(num), radius, height))
    ]


def texels(width: float, height: float) -> tuple[int, int]:
    """Size of a picture for a surface in metres."""
    return round(width * TEXELS_PER_METRE), round(height * TEXELS_PER_METRE)


def facade_picture(rng: np.random.Generator, size: tuple[float, float]) -> np.ndarray:
    """Bricks with posters."""
    picture = textures.bricks(rng, texels(*size), course=18)
    return decorated(picture, rng, max(3, round(size[0] * size[1] * 0.9)))


def decorated(picture: np.ndarray, rng: np.random.Generator, num_posters: int) -> np.ndarray:
    """A picture with sheets pasted on, anywhere."""
    for _ in range(num_posters):
        width, height = rng.integers(70, 150, 2).tolist()
        left, top = (int(rng.integers(0, max(1, side - 80))) for side in (picture.shape[1], picture.shape[0]))
        textures.paste(picture, textures.poster(rng, (width, height)), left, top)
    return picture


def level(half_side: float, height: float) -> Quad:
    """A square that lies at a height."""
    return Quad(
        corner=np.array([-half_side, half_side, height]),
        side_u=np.array([2 * half_side, 0, 0]),
        side_v=np.array([0, -2 * half_side, 0]),
    )


def upright(middle: np.ndarray, outward: np.ndarray, width: float, height: float) -> Quad:
    """A wall whose foot is centred on `middle` and that faces `outward`."""
    along = width * np.cross(UP, outward)
    return Quad(corner=middle - along / 2 + height * UP, side_u=along, side_v=-height * UP)


def painted(surfaces: list[Quad], pictures: list[np.ndarray]) -> World:
    """A world of pictures with values 0 to 1."""
    return World(surfaces, [(255 * np.clip(picture, 0, 1)).astype(np.uint8) for picture in pictures])


CASES: dict[str, Callable[[np.random.Generator], list[Photograph]]] = {
    case.__name__: case
    for case in (steps_60, three_45, day_night, turned, two_scenes, equal_sides, equal_walls, arcade)
}
