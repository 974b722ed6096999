"""From a pixel of a map's image to its point in the world: by the model's points, or by a depth map."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64
from scipy.spatial import cKDTree

from dust3r_sfm.localization.reference import Reference

_JUMP_OF_DEPTH = 0.05
"""Neighbouring depths that differ by more than this share are of two surfaces. Chosen by hand."""

_MAPS_IN_MEMORY = 256
"""Depth maps that are kept. Chosen by hand."""


@runtime_checkable
class Lift(Protocol):
    """Gives pixels of the map's images their points."""

    def __call__(self, index: int, xy: Float64[np.ndarray, "m 2"]) -> Float64[np.ndarray, "m 3"]:
        """Return the points in the world of raw pixels of image `index`; NaN where none is known."""
        ...


class PointLift:
    """By the nearest point that the model observes in the image, within a radius.

    The point is moved sideways by the offset between the pixel and the observation, at its own depth; on an
    observation it is the model's point itself.

    Args:
        reference: a map whose model has points.
        radius: largest offset, as a share of the image's longer side.
    """

    def __init__(self, reference: Reference, radius: float) -> None:
        self._reference = reference
        self._radius = radius
        self._observations = lru_cache(_MAPS_IN_MEMORY)(self._observed)

    def __call__(self, index: int, xy: Float64[np.ndarray, "m 2"]) -> Float64[np.ndarray, "m 3"]:
        """See `Lift`."""
        tree, points = self._observations(index)
        lifted = np.full((len(xy), 3), np.nan)
        if tree is None or not len(xy):
            return lifted
        radius = max(self._radius * max(self._reference.views[index].size), 1e-6)
        distance, nearest = tree.query(xy, distance_upper_bound=radius)
        has_point = np.isfinite(distance)
        near = points[nearest[has_point]]
        offset = self._reference.rays(index, xy[has_point]) - self._reference.rays(index, tree.data[nearest[has_point]])
        lifted[has_point] = self._reference.to_world(index, near + near[:, 2:] * np.pad(offset, ((0, 0), (0, 1))))
        return lifted

    def _observed(self, index: int) -> tuple[cKDTree | None, Float64[np.ndarray, "k 3"]]:
        """The observations as a tree, and their points in the camera's frame."""
        pose = self._reference.cam_from_world[index]
        xy, world = self._reference.observations(index)
        points = world @ pose[:, :3].T + pose[:, 3]
        front = points[:, 2] > 0
        return (cKDTree(xy[front]) if front.any() else None), points[front]


@dataclass(frozen=True, kw_only=True)
class DepthRaster:
    """Depth of one image on a grid of its own.

    Attributes:
        depth: z of each grid pixel in the camera's frame, world units; 0 where unknown.
        matrix: homogeneous map to the grid, pixel centres at +0.5.
        of_rays: whether `matrix` maps the image's rays (a pinhole matrix) or its raw pixels.
    """

    depth: Float32[np.ndarray, "h w"]
    matrix: Float64[np.ndarray, "3 3"]
    of_rays: bool = False


class DepthLift:
    """By depth maps; a map is read when its image is first asked for.

    Args:
        reference: the map.
        read: gives the depth of image `index`, or None where there is none.
    """

    def __init__(self, reference: Reference, read: Callable[[int], DepthRaster | None]) -> None:
        self._reference = reference
        self._read = lru_cache(_MAPS_IN_MEMORY)(read)

    def __call__(self, index: int, xy: Float64[np.ndarray, "m 2"]) -> Float64[np.ndarray, "m 3"]:
        """See `Lift`."""
        raster = self._read(index)
        if raster is None or not len(xy):
            return np.full((len(xy), 3), np.nan)
        rays = self._reference.rays(index, xy)
        grid = (rays if raster.of_rays else xy) @ raster.matrix[:2, :2].T + raster.matrix[:2, 2]
        depth = sample_depth(raster.depth, grid)
        return self._reference.to_world(index, np.column_stack([rays, np.ones(len(rays))]) * depth[:, None])


class FirstOf:
    """The first of several ways that knows a pixel's point."""

    def __init__(self, lifts: Sequence[Lift]) -> None:
        self._lifts = lifts

    def __call__(self, index: int, xy: Float64[np.ndarray, "m 2"]) -> Float64[np.ndarray, "m 3"]:
        """See `Lift`."""
        lifted = np.full((len(xy), 3), np.nan)
        for lift in self._lifts:
            missing = np.isnan(lifted[:, 0])
            if missing.any():
                lifted[missing] = lift(index, xy[missing])
        return lifted


def sample_depth(depth: Float32[np.ndarray, "h w"], xy: Float64[np.ndarray, "m 2"]) -> Float64[np.ndarray, " m"]:
    """Interpolate a depth map linearly, over those of the four neighbours that lie on the nearest one's surface.

    Args:
        depth: z of each pixel; 0, negative or not finite where unknown.
        xy: positions, pixel centres at +0.5.

    Returns:
        Depths; NaN outside the map and where the nearest pixel is unknown.
    """
    height, width = depth.shape
    inside = (xy >= 0).all(axis=1) & (xy[:, 0] < width) & (xy[:, 1] < height)
    position = np.where(inside[:, None], xy, 0.5) - 0.5
    corner = np.floor(position).astype(np.int64)
    part = position - corner
    depths, weights = [], []
    for down in (0, 1):
        for right in (0, 1):
            row, column = np.clip(corner[:, 1] + down, 0, height - 1), np.clip(corner[:, 0] + right, 0, width - 1)
            depths.append(depth[row, column].astype(np.float64))
            weights.append(np.abs(1 - right - part[:, 0]) * np.abs(1 - down - part[:, 1]))
    values, weight = np.stack(depths, axis=1), np.stack(weights, axis=1)
    values = np.where(np.isfinite(values), values, 0.0)
    nearest = values[np.arange(len(values)), weight.argmax(axis=1)]
    weight = np.where(
        (values > 0) & (np.abs(values - nearest[:, None]) <= _JUMP_OF_DEPTH * nearest[:, None]), weight, 0.0
    )
    total = weight.sum(axis=1)
    known = inside & (nearest > 0) & (total > 0)
    return np.where(known, (weight * values).sum(axis=1) / np.where(known, total, 1.0), np.nan)
