"""A rendered courtyard as the data sets would hold it: posed photographs, depth of a second camera, points."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.geometry.pinhole import intrinsics
from dust3r_sfm.geometry.transforms import apply, compose, invert
from dust3r_sfm.synthetic.courtyard import make_world
from dust3r_sfm.synthetic.render import render, render_depth
from dust3r_sfm.synthetic.shots import plan_shots
from dust3r_sfm.synthetic.world import World
from pipelines.seven_scenes.registration import COLOUR, COLOUR_FROM_DEPTH, DEPTH_FOCAL, SIZE

MAPPING, QUERIES = (0, 1, 3, 4), (2,)


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """Photographs of one camera (640 × 480, focal length 525), and what is known about them, by their order."""

    pictures: tuple[np.ndarray, ...]
    cam_from_world: np.ndarray
    depths: tuple[np.ndarray, ...]
    depth_from_world: np.ndarray
    depth_maps: tuple[np.ndarray, ...]

    def write(self, folder: Path, names: Mapping[int, str]) -> None:
        """Write photographs as PNG files."""
        for index, name in names.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(self.pictures[index]).save(folder / name)

    def lattice(self, index: int, step: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of a photograph on a lattice, and their points in the world."""
        x, y = np.meshgrid(np.arange(4.5, SIZE[0], step), np.arange(4.5, SIZE[1], step))
        xy = np.column_stack([x.ravel(), y.ravel()])
        depth = self.depths[index][xy[:, 1].astype(int), xy[:, 0].astype(int)].astype(np.float64)
        rays = np.column_stack([(xy - (320, 240)) / COLOUR.params[0], np.ones(len(xy))])
        world = apply(invert(self.cam_from_world[index]), rays * depth[:, None])
        return xy[depth > 0], world[depth > 0]


@pytest.fixture(scope="session")
def courtyard() -> tuple[World, np.random.Generator]:
    """A courtyard, and the generator that made it."""
    rng = np.random.default_rng(3)
    return make_world(rng), rng


@pytest.fixture(scope="session")
def world(courtyard: tuple[World, np.random.Generator]) -> World:
    """The same courtyard for all data sets."""
    return courtyard[0]


@pytest.fixture(scope="session")
def rendered(courtyard: tuple[World, np.random.Generator]) -> Rendered:
    """Five photographs 12 degrees apart."""
    world, rng = courtyard
    poses = np.stack([shot.cam_from_world for shot in plan_shots(5, SIZE, rng)])
    depth_poses = np.stack([compose(invert(COLOUR_FROM_DEPTH), pose) for pose in poses])
    colour, depth = intrinsics(COLOUR.params[0], SIZE), intrinsics(DEPTH_FOCAL, SIZE)
    return Rendered(
        pictures=tuple(render(world, pose, colour, SIZE, samples=1) for pose in poses),
        cam_from_world=poses,
        depths=tuple(render_depth(world, pose, colour, SIZE) for pose in poses),
        depth_from_world=depth_poses,
        depth_maps=tuple(render_depth(world, depth_poses[index], depth, SIZE) for index in MAPPING),
    )


def add_points(model: object, rendered: Rendered, names: Mapping[int, str]) -> None:
    """Give each image of a model observations on a lattice, and each point a second one in a mapping image."""
    from dust3r_sfm.system._pycolmap import pycolmap

    image_of = {index: next(i for i in model.images.values() if i.name == name) for index, name in names.items()}  # type: ignore[attr-defined]
    tracks, points2d = observe(rendered, names)
    for index, image in image_of.items():
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(xy) for xy in points2d[index]])
    for point, track in tracks:
        elements = [pycolmap.TrackElement(image_of[index].image_id, row) for index, row in track]
        model.add_point3D(point, pycolmap.Track(elements), np.zeros(3, np.uint8))  # type: ignore[attr-defined]


def observe(
    rendered: Rendered, names: Mapping[int, str]
) -> tuple[list[tuple[np.ndarray, list[tuple[int, int]]]], dict[int, list[np.ndarray]]]:
    """Points with their tracks (image, row), and the observed pixels of each image: each point in all that see it."""
    points2d: dict[int, list[np.ndarray]] = {index: [] for index in names}
    tracks = []
    for index in names:
        _, points = rendered.lattice(index)
        seen: list[list[tuple[int, int]]] = [[] for _ in points]
        for other in names:
            local = apply(rendered.cam_from_world[other], points)
            xy = local[:, :2] / local[:, 2:] * COLOUR.params[0] + (320, 240)
            inside = (local[:, 2] > 0) & (xy >= 0).all(axis=1) & (xy < SIZE).all(axis=1)
            column, row = np.where(inside[:, None], xy, 0).astype(int).T
            visible = inside & (np.abs(rendered.depths[other][row, column] - local[:, 2]) < 0.01 * local[:, 2])
            for at in np.flatnonzero(visible):
                seen[at].append((other, len(points2d[other])))
                points2d[other].append(xy[at])
        tracks += [(point, track) for point, track in zip(points, seen, strict=True) if track]
    return tracks, points2d
