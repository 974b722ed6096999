"""The rendered photographs of the trust benchmark: kinds that a run should get right, and kinds that mislead it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from benchmarks.scenes.hard import (
    EVENING,
    building_of_equal_sides,
    decorated,
    facade_picture,
    level,
    orbit,
    painted,
    texels,
    upright,
)
from benchmarks.trust.photographs import (
    FOCAL_PX,
    SIZE,
    Case,
    Photograph,
    Seen,
    millimetres,
    shoot,
)
from dust3r_sfm.geometry.pinhole import intrinsics
from dust3r_sfm.synthetic import textures
from dust3r_sfm.synthetic.courtyard import make_world
from dust3r_sfm.synthetic.sample import pose_record
from dust3r_sfm.system.files import write_json

NUM = 8
TARGET = np.array([0.0, 0.0, 0.85])
Rng = np.random.Generator


def arc(rng: Rng, step: float, num: int = NUM, **how: object) -> list[Photograph]:
    """Photographs of a courtyard's middle in even steps (degrees)."""
    world, places = make_world(rng), orbit(rng.uniform(0, 360) + step * np.arange(num), 3.9, 1.65)
    return [
        Photograph(shot=shoot(i, place, TARGET, rng), world=world, **how)  # type: ignore[arg-type]
        for i, place in enumerate(places)
    ]


def steps_10(rng: Rng) -> Case:
    """In steps of 10 degrees, with EXIF."""
    return Case(photographs=arc(rng, 10.0, focal_mm=millimetres(FOCAL_PX)))


def steps_15(rng: Rng) -> Case:
    """In steps of 15 degrees, without EXIF."""
    return Case(photographs=arc(rng, 15.0))


def blurred(rng: Rng) -> Case:
    """Not sharp, in steps of 10 degrees."""
    return Case(photographs=arc(rng, 10.0, blur_px=1.0, focal_mm=millimetres(FOCAL_PX)))


def two_lights(rng: Rng) -> Case:
    """Every second in other light."""
    seed = int(rng.integers(1 << 30))
    evening = make_world(np.random.default_rng(seed), EVENING)
    taken = arc(np.random.default_rng(seed), 10.0)
    return Case(photographs=[replace(each, world=evening) if i % 2 else each for i, each in enumerate(taken)])


def along_a_wall(rng: Rng) -> Case:
    """Steps along a wall with a floor before it."""
    wall = decorated(facade_picture(rng, (8.0, 3.0)), rng, 30)
    world = painted(
        [level(5.0, 0.0), upright(np.zeros(3), np.array([0.0, -1.0, 0.0]), 8.0, 3.0)],
        [textures.slabs(rng, texels(10.0, 10.0), cell=90), wall],
    )
    return Case(
        photographs=[
            Photograph(
                shot=shoot(i, np.array([x, -3.0, 1.6]), np.array([x + 0.2, 0, 1.2]), rng),
                world=world,
                focal_mm=millimetres(FOCAL_PX),
            )
            for i, x in enumerate(np.linspace(-2.4, 2.4, NUM))
        ]
    )


def true_intrinsics(rng: Rng) -> Case:
    """With the true camera given."""
    return given(arc(rng, 12.0), 1.0)


def wrong_intrinsics(rng: Rng) -> Case:
    """With a given focal length that is off by a third to a half."""
    return given(arc(rng, 12.0), float(rng.choice([0.65, 1.35, 1.5])))


def given(photographs: list[Photograph], factor: float) -> Case:
    """Photographs with a file of their cameras, whose focal lengths are times a factor."""
    params = [factor * FOCAL_PX, factor * FOCAL_PX, SIZE[0] / 2, SIZE[1] / 2]
    camera = {"model": "PINHOLE", "width": SIZE[0], "height": SIZE[1], "params": params}
    return Case(photographs=photographs, cameras={each.shot.name: {"camera": camera} for each in photographs})


def equal_sides(rng: Rng) -> Case:
    """All around a building of four equal sides."""
    world = building_of_equal_sides(rng)
    places = orbit(10 + 36.0 * np.arange(10), 4.2, 3.4)
    return Case(
        photographs=[
            Photograph(shot=shoot(i, p, np.array([0, 0, 1.2]), rng), world=world) for i, p in enumerate(places)
        ]
    )


def mixed_zoom(rng: Rng) -> Case:
    """Every second at another zoom, of which EXIF says nothing."""
    factor = float(rng.uniform(1.35, 1.8))
    taken = arc(rng, 10.0, focal_mm=millimetres(FOCAL_PX))
    zoomed = intrinsics(factor * FOCAL_PX, SIZE)
    return Case(
        photographs=[
            replace(each, shot=replace(each.shot, intrinsics=zoomed)) if i % 2 else each for i, each in enumerate(taken)
        ]
    )


def panorama(rng: Rng) -> Case:
    """360° pictures without a note, half a metre apart."""
    width, height = 640, 320

    def rays(xy: np.ndarray) -> np.ndarray:
        longitude, latitude = ((xy / (width, height) - 0.5) * (2 * np.pi, np.pi)).T
        return np.stack(
            [np.sin(longitude) * np.cos(latitude), np.sin(latitude), np.cos(longitude) * np.cos(latitude)], -1
        )

    world, taken = make_world(rng), []
    for i in range(6):
        place = np.array([3.4, -1.2 + 0.4 * i, 1.6])
        shot = shoot(i, place, np.array([0, place[1], 1.6]), rng, width / (2 * np.pi))
        taken.append(Photograph(shot=replace(shot, size=(width, height)), world=world, rays=rays))
    return Case(photographs=taken)


def fisheye(rng: Rng) -> Case:
    """An equidistant fisheye lens that is given as a pinhole."""
    focal = 170.0

    def rays(xy: np.ndarray) -> np.ndarray:
        flat = (xy - np.array(SIZE) / 2) / focal
        angle = np.linalg.norm(flat, axis=1, keepdims=True)
        return np.concatenate([flat * np.sinc(angle / np.pi), np.cos(angle)], axis=1)

    taken = [replace(each, rays=rays) for each in arc(rng, 10.0)]
    return given(taken, focal / FOCAL_PX)


def turning(rng: Rng) -> Case:
    """Turned on the spot, but for a hand's width."""
    world, taken = make_world(rng), []
    for i in range(NUM):
        angle = np.radians(16.0 * i)
        place = np.array([1.5, 0.5, 1.6]) + rng.uniform(-0.03, 0.03, 3)
        shot = shoot(i, place, place + 4 * np.array([np.cos(angle), np.sin(angle), -0.1]), rng)
        centre = place + rng.uniform(-0.01, 0.01, 3)
        pose = np.column_stack([shot.cam_from_world[:, :3], -shot.cam_from_world[:, :3] @ centre])
        taken.append(Photograph(shot=replace(shot, cam_from_world=pose), world=world))
    return Case(photographs=taken)


def turntable(rng: Rng) -> Case:
    """A box that turns before a wall that does not; the truth is about the box."""
    sides = [decorated(facade_picture(rng, (1.4, 1.4)), rng, 4) for _ in range(4)]
    wall, floor = decorated(facade_picture(rng, (9.0, 4.0)), rng, 40), textures.slabs(rng, texels(8.0, 8.0), cell=60)
    taken = []
    for i in range(NUM):
        turn = np.radians(12.0 * i)
        surfaces, pictures = (
            [level(4.0, 0.0), upright(np.array([-2.5, 0, 0]), np.array([1.0, 0, 0]), 8.0, 4.0)],
            [
                floor,
                wall,
            ],
        )
        for quarter, picture in enumerate(sides):
            outward = np.array([np.cos(turn + quarter * np.pi / 2), np.sin(turn + quarter * np.pi / 2), 0.0])
            surfaces.append(upright(0.7 * outward, outward, 1.4, 1.4))
            pictures.append(picture)
        fixed = shoot(i, np.array([3.2, 0.4, 1.5]), np.array([0, 0, 0.7]), rng)
        world = painted(surfaces, pictures)
        truth = fixed.cam_from_world[:, :3] @ Rotation.from_euler("z", turn).as_matrix()
        taken.append((fixed, world, np.column_stack([truth, fixed.cam_from_world[:, 3]])))
    return Case(
        photographs=[Photograph(shot=Seen.of(fixed, pose), world=world) for fixed, world, pose in taken],
    )


def low_texture(rng: Rng) -> Case:
    """Hardly any contrast, far apart."""
    return Case(photographs=arc(rng, float(rng.uniform(18, 26)), contrast=0.12, blur_px=0.8))


def far_apart(rng: Rng) -> Case:
    """Steps of 32 degrees or more."""
    return Case(photographs=arc(rng, float(rng.uniform(32, 45)), num=7))


def two_scenes(rng: Rng) -> Case:
    """Two buildings with the same facade in one folder."""
    shared = facade_picture(rng, (3.0, 2.5))
    taken = []
    for scene in range(2):
        world = painted(
            [
                level(4.5, 0.0),
                upright(np.zeros(3), np.array([0.0, -1.0, 0.0]), 3.0, 2.5),
                upright(np.array([2.4, -0.6, 0]), np.array([0.0, -1.0, 0.0]), 1.6, 2.0),
            ],
            [
                textures.slabs(rng, texels(9.0, 9.0), cell=80),
                shared,
                decorated(facade_picture(rng, (1.6, 2.0)), rng, 4),
            ],
        )
        for i in range(4):
            x = -1.2 + 0.8 * i
            shot = shoot(4 * scene + i, np.array([x, -3.4, 1.6]), np.array([0.6 - 1.2 * scene, 0, 1.2]), rng)
            far = shot.cam_from_world[:, :3] @ Rotation.from_euler("z", 120 * scene, degrees=True).as_matrix()
            taken.append((shot, world, np.column_stack([far, shot.cam_from_world[:, 3]])))
    return Case(photographs=[Photograph(shot=Seen.of(shot, pose), world=world) for shot, world, pose in taken])


RIGHT = (steps_10, steps_15, blurred, two_lights, along_a_wall, true_intrinsics)
MISLEADING = (
    *(wrong_intrinsics, equal_sides, mixed_zoom, panorama, fisheye, turning, turntable),
    *(low_texture, far_apart, two_scenes),
)
KINDS: dict[str, Callable[[Rng], Case]] = {kind.__name__: kind for kind in (*RIGHT, *MISLEADING)}
"""What a case is called; whether a run is right is measured, not told."""


def write_case(kind: str, seed: int, folder: Path) -> Case:
    """Render a case into folder/images, folder/truth.json and, where cameras are given, folder/cameras.json."""
    rng = np.random.default_rng((seed, list(KINDS).index(kind)))
    case = KINDS[kind](rng)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    truth = {}
    for each in case.photographs:
        file = folder / "images" / each.shot.name
        Image.fromarray(each.take(rng)).save(file, quality=95, subsampling=0, exif=each.exif())
        told = each.shot
        if isinstance(told, Seen):
            told = replace(told, cam_from_world=told.true_cam_from_world)
        truth[each.shot.name] = pose_record(told)
    write_json(folder / "truth.json", truth)
    if case.cameras is not None:
        write_json(folder / "cameras.json", case.cameras)
    return case
