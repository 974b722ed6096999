"""A photograph of the trust benchmark: what it shows, and how a camera leaves it."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import ExifTags, Image

from dust3r_sfm.geometry.pinhole import intrinsics
from dust3r_sfm.images.exif import FILM_DIAGONAL_MM
from dust3r_sfm.synthetic.render import render
from dust3r_sfm.synthetic.shots import Shot, look_at
from dust3r_sfm.synthetic.world import World

SIZE, FOCAL_PX = (400, 300), 350.0
NOISE_OF_255 = 1.5
Rng = np.random.Generator
Rays = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """A shot of a world.

    Attributes:
        shot: name, size, intrinsics and pose.
        world: what it shows.
        focal_mm: in EXIF, as 35 mm equivalent; None: no EXIF.
        rays: directions (k, 3) of pixels (k, 2) where the camera is no pinhole.
        blur_px: standard deviation of a blur.
        contrast: of the picture, 1 as rendered.
    """

    shot: Shot
    world: World
    focal_mm: int | None = None
    rays: Rays | None = None
    blur_px: float = 0.0
    contrast: float = 1.0

    def take(self, rng: Rng) -> np.ndarray:
        """Render the picture as a camera leaves it."""
        if self.rays is None:
            picture = render(self.world, self.shot.raw_cam_from_world, self.shot.intrinsics, self.shot.size)
        else:
            picture = traced(self.world, self.shot, self.rays)
        values = picture.astype(np.float32)
        if self.blur_px:
            values = cv2.GaussianBlur(values, (0, 0), self.blur_px)
        values = 128 + self.contrast * (values - 128) + NOISE_OF_255 * rng.standard_normal(values.shape, np.float32)
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)

    def exif(self) -> Image.Exif:
        """What the camera notes."""
        exif = Image.Exif()
        if self.focal_mm is not None:
            exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "dust3r_sfm", "Trust"
            exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = self.focal_mm
        return exif


@dataclass(frozen=True, kw_only=True)
class Case:
    """Photographs, and the options that their run is given."""

    photographs: list[Photograph]
    options: tuple[str, ...] = ()
    cameras: dict[str, object] | None = None
    pairs: tuple[tuple[int, int], ...] = ()


def traced(world: World, shot: Shot, rays: Rays) -> np.ndarray:
    """The picture of a camera that is no pinhole."""
    width, height = shot.size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    directions = rays(np.stack([x, y], -1).reshape(-1, 2)) @ shot.cam_from_world[:, :3]
    centre = -shot.cam_from_world[:, :3].T @ shot.cam_from_world[:, 3]
    picture = np.empty((width * height, 3), np.float32)
    for start in range(0, len(directions), 40_000):
        part = np.ascontiguousarray(directions[start : start + 40_000], np.float32)
        hits = world.trace(np.tile(centre.astype(np.float32), (len(part), 1)), part)
        picture[start : start + 40_000] = world.colour(hits, part, float(1 / shot.intrinsics[0, 0]))
    return picture.reshape(height, width, 3)


def millimetres(focal_px: float) -> int:
    """What EXIF says of a focal length."""
    return round(focal_px / float(np.hypot(*SIZE)) * FILM_DIAGONAL_MM)


def shoot(index: int, place: np.ndarray, target: np.ndarray, rng: Rng, focal: float = FOCAL_PX) -> Shot:
    """A photograph held by an unsteady hand."""
    return Shot(
        name=f"IMG_{index:02d}.jpg",
        size=SIZE,
        orientation=1,
        intrinsics=intrinsics(focal, SIZE),
        cam_from_world=look_at(
            place + rng.uniform(-0.05, 0.05, 3), target + rng.uniform(-0.05, 0.05, 3), np.radians(rng.uniform(-2, 2))
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Seen(Shot):
    """A shot whose truth is not the pose that it is rendered from."""

    true_cam_from_world: np.ndarray

    @staticmethod
    def of(shot: Shot, truth: np.ndarray) -> "Seen":
        """A shot with a truth of its own."""
        return Seen(**vars(shot), true_cam_from_world=truth)
