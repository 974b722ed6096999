"""Pictures and depth maps of a world, ray by ray."""

from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from dust3r_sfm.geometry.pinhole import rays
from dust3r_sfm.geometry.transforms import centres
from dust3r_sfm.synthetic.world import World
from dust3r_sfm.types import Size

TILE_PX = 256
"""Rays are traced in square tiles, each of which can only meet a few of the surfaces: chosen by hand."""


def render(
    world: World,
    cam_from_world: Float64[np.ndarray, "3 4"],
    intrinsics: Float64[np.ndarray, "3 3"],
    size: Size,
    samples: int = 2,
) -> UInt8[np.ndarray, "h w 3"]:
    """Photograph a world: every pixel is the mean of samples × samples rays spread evenly over it."""
    dense = np.diag([samples, samples, 1.0]) @ intrinsics
    dense_size = (size[0] * samples, size[1] * samples)
    picture = np.empty((dense_size[1], dense_size[0], 3), np.float32)
    origin = centres(cam_from_world)[None].astype(np.float32)
    for tile, directions in _tiles(cam_from_world, dense, dense_size):
        bundle = directions.reshape(-1, 3).astype(np.float32)
        hits = world.trace(origin, bundle)
        picture[tile] = world.colour(hits, bundle, ray_width=1 / dense[0, 0]).reshape(directions.shape)
    mean = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(np.rint(mean), 0, 255), np.uint8)


def render_depth(
    world: World, cam_from_world: Float64[np.ndarray, "3 4"], intrinsics: Float64[np.ndarray, "3 3"], size: Size
) -> Float32[np.ndarray, "h w"]:
    """Return the exact z of what each pixel centre sees, 0 where that is the sky."""
    depth = np.empty((size[1], size[0]), np.float32)
    origin = centres(cam_from_world)[None]
    for tile, directions in _tiles(cam_from_world, intrinsics, size):
        distance = world.trace(origin, directions.reshape(-1, 3)).distance
        depth[tile] = np.where(np.isfinite(distance), distance, 0).reshape(directions.shape[:2])
    return depth


def _tiles(
    cam_from_world: Float64[np.ndarray, "3 4"], intrinsics: Float64[np.ndarray, "3 3"], size: Size
) -> Iterator[tuple[tuple[slice, slice], Float64[np.ndarray, "h w 3"]]]:
    """Yield the places of the tiles and the directions of their rays in the world, at length z = 1 in the camera."""
    for top in range(0, size[1], TILE_PX):
        for left in range(0, size[0], TILE_PX):
            height, width = min(TILE_PX, size[1] - top), min(TILE_PX, size[0] - left)
            matrix = intrinsics - [[0, 0, left], [0, 0, top], [0, 0, 0]]
            yield (
                (slice(top, top + height), slice(left, left + width)),
                rays(height, width, matrix) @ cam_from_world[:, :3],
            )
