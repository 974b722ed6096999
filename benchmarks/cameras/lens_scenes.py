"""The rendered photographs of lenses.py: rooms and courtyards through lenses of COLMAP's models."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from benchmarks.scenes.hard import UP, decorated, level, painted, texels, upright
from dust3r_sfm.geometry.transforms import centres
from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.synthetic import textures
from dust3r_sfm.synthetic.courtyard import make_world
from dust3r_sfm.synthetic.shots import look_at
from dust3r_sfm.synthetic.world import World
from dust3r_sfm.system.files import write_json
from dust3r_sfm.types import KnownCamera

SAMPLES = 2
"""Rays of a pixel, each way."""
TILE_PX = 128
NOISE_OF_255 = 1.5
ROOM_SIDE, ROOM_HEIGHT = 5.0, 2.6
"""Metres."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A world, where its photographs are taken, and the lens that takes them."""

    world: Callable[[np.random.Generator], World]
    poses: Callable[[np.random.Generator], list[np.ndarray]]
    camera: KnownCamera
    is_grey: bool = False

    def photograph(self, folder: Path) -> None:
        """Write images/ without EXIF, and poses.json."""
        rng = np.random.default_rng(5)
        world, poses, entries = self.world(rng), self.poses(rng), {}
        (folder / "images").mkdir(parents=True, exist_ok=True)
        for number, pose in enumerate(poses):
            picture = render_through(world, pose, self.camera)
            if self.is_grey:
                picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
            picture += NOISE_OF_255 * rng.standard_normal(picture.shape, np.float32)
            name = f"IMG_{number:02d}.jpg"
            pixels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name, quality=93)
            width, height = self.camera.size
            entries[name] = {
                "qvec_cam_from_world": Rotation.from_matrix(pose[:, :3]).as_quat(scalar_first=True).tolist(),
                "tvec": pose[:, 3].tolist(),
                "camera": {
                    "model": self.camera.model,
                    "width": width,
                    "height": height,
                    "params": list(self.camera.params),
                },
            }
        write_json(folder / "poses.json", entries)


def render_through(world: World, cam_from_world: np.ndarray, camera: KnownCamera) -> np.ndarray:
    """Photograph a world through a lens: float (h, w, 3), 0 to 255; black where the lens has no ray."""
    made, (width, height) = colmap_camera(camera), camera.size
    place = centres(cam_from_world)[None].astype(np.float32)
    dense = np.zeros((height * SAMPLES, width * SAMPLES, 3), np.float32)
    ray_width = 1 / (SAMPLES * made.mean_focal_length())
    for top in range(0, dense.shape[0], TILE_PX):
        for left in range(0, dense.shape[1], TILE_PX):
            tile = dense[top : top + TILE_PX, left : left + TILE_PX]
            y, x = np.mgrid[top : top + tile.shape[0], left : left + tile.shape[1]]
            on_plane = np.asarray(made.cam_from_img((np.stack([x, y], -1).reshape(-1, 2) + 0.5) / SAMPLES))
            rays = np.column_stack([on_plane, np.ones(len(on_plane))])
            blind = ~np.isfinite(rays).all(axis=1)
            rays[blind] = (0, 0, 1)
            rays /= np.linalg.norm(rays, axis=1, keepdims=True)
            directions = (rays @ cam_from_world[:, :3]).astype(np.float32)
            colours = world.colour(world.trace(place, directions), directions, ray_width=ray_width)
            colours[blind] = 0
            tile[:] = colours.reshape(tile.shape)
    return np.asarray(cv2.resize(dense, camera.size, interpolation=cv2.INTER_AREA))


def room(rng: np.random.Generator) -> World:
    """A bare room: plaster with a few posters on each wall, planks, no ceiling."""
    outward = [np.array(each) for each in ((-1.0, 0, 0), (1.0, 0, 0), (0, -1.0, 0), (0, 1.0, 0))]
    walls = [upright(-each * ROOM_SIDE / 2, each, ROOM_SIDE, ROOM_HEIGHT) for each in outward]
    size = texels(ROOM_SIDE, ROOM_HEIGHT)
    pictures = [decorated(textures.plaster(rng, size), rng, 7) for _ in walls]
    planks = textures.planks(rng, texels(ROOM_SIDE, ROOM_SIDE), board=30)
    return painted([*walls, level(ROOM_SIDE / 2, 0.0)], [*pictures, planks])


def across_room(rng: np.random.Generator, num: int = 20) -> list[np.ndarray]:
    """Wide steps on a circle, looking across the middle."""
    poses = []
    for turn in 2 * np.pi * np.arange(num) / num:
        place = np.array([1.2 * np.cos(turn), 1.2 * np.sin(turn), 1.4]) + rng.uniform(-0.15, 0.15, 3)
        ahead = turn + 2.75
        target = np.array([2.3 * np.cos(ahead), 2.3 * np.sin(ahead), 1.2]) + rng.uniform(-0.2, 0.2, 3)
        poses.append(look_at(place, target, np.radians(rng.uniform(-4, 4))))
    return poses


def around_yard(rng: np.random.Generator, num: int = 16) -> list[np.ndarray]:
    """Three quarters of a circle around a courtyard's middle."""
    poses = []
    for turn in np.linspace(0.2, 1.5 * np.pi, num):
        place = np.array([3.9 * np.cos(turn), 3.9 * np.sin(turn), 1.65]) + rng.uniform(-0.1, 0.1, 3)
        target = 0.85 * UP + rng.uniform(-0.3, 0.3, 3)
        poses.append(look_at(place, target, np.radians(rng.uniform(-3, 3))))
    return poses


def _camera(model: str, size: tuple[int, int], *params: float) -> KnownCamera:
    return KnownCamera(model=model, size=size, params=tuple(map(float, params)))


CASES = {
    "room": Case(
        world=room,
        poses=across_room,
        camera=_camera("OPENCV", (752, 480), 458, 457, 367, 248, -0.28, 0.07, 0, 0),
        is_grey=True,
    ),
    "action": Case(
        world=make_world,
        poses=around_yard,
        camera=_camera("OPENCV_FISHEYE", (800, 600), 390, 390, 400, 300, 0.02, -0.01, 0, 0),
    ),
    "fisheye": Case(
        world=make_world,
        poses=around_yard,
        camera=_camera("OPENCV_FISHEYE", (800, 800), 255, 255, 400, 400, 0, 0, 0, 0),
    ),
    "phone": Case(
        world=make_world,
        poses=around_yard,
        camera=_camera("OPENCV", (800, 600), 620, 620, 402, 297, 0.09, -0.12, 0.0005, -0.0004),
    ),
    "pinhole": Case(world=make_world, poses=around_yard, camera=_camera("PINHOLE", (800, 600), 620, 620, 400, 300)),
}
