"""A world of textured surfaces, and the exact answer to what a ray meets and what colour it has.

World axes: x and y on the ground, z up, metres. Textures hold finished colours, light included.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8

from dust3r_sfm.synthetic.surfaces import Column, Columns, Distances, Quad, Quads, Rays, Sphere, Spheres, Surface

Texture = UInt8[np.ndarray, "_ _ 3"]
_SKY_AT_HORIZON = np.array([226, 232, 236], np.float32)
_SKY_OVERHEAD = np.array([118, 163, 214], np.float32)
"""RGB of 255: chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Hits:
    """What rays meet.

    Attributes:
        distance: in lengths of each ray's direction; infinite where it meets nothing.
        surface: index of the surface; -1 where it meets nothing.
        uv: position in the surface's texture, 0 to 1.
    """

    distance: Float[np.ndarray, " n"]
    surface: Int64[np.ndarray, " n"]
    uv: Float[np.ndarray, "n 2"]


class World:
    """Surfaces with their textures.

    Args:
        surfaces: what there is.
        textures: the picture on each surface.
    """

    def __init__(self, surfaces: Sequence[Surface], textures: Sequence[Texture]) -> None:
        kinds = (Quad, Sphere, Column)
        order = [i for kind in kinds for i, surface in enumerate(surfaces) if isinstance(surface, kind)]
        self.surfaces = tuple(surfaces[i] for i in order)
        self._pyramids = tuple(_pyramid(textures[i]) for i in order)
        self._texels_per_metre = np.array(
            [p[0].shape[1] / s.size[0] for p, s in zip(self._pyramids, self.surfaces, strict=True)]
        )
        quads = [s for s in self.surfaces if isinstance(s, Quad)]
        spheres = [s for s in self.surfaces if isinstance(s, Sphere)]
        columns = [s for s in self.surfaces if isinstance(s, Column)]
        first_sphere, first_column = len(quads), len(quads) + len(spheres)
        self._quads, self._num_quads = Quads(quads), len(quads)
        self._stacks: tuple[tuple[Quads | Spheres | Columns, int, int], ...] = (
            (self._quads, 0, first_sphere),
            (Spheres(spheres), first_sphere, first_column),
            (Columns(columns), first_column, len(self.surfaces)),
        )
        grid = np.stack(np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 9)), axis=-1).reshape(-1, 2)
        outlines = np.array([surface.at(grid)[0] for surface in self.surfaces])
        self._middle = (outlines.min(1) + outlines.max(1)) / 2
        self._reach = 1.05 * np.linalg.norm(outlines - self._middle[:, None], axis=-1).max(1)

    @property
    def textures(self) -> tuple[Texture, ...]:
        """The picture on each of `surfaces`."""
        return tuple(pyramid[0] for pyramid in self._pyramids)

    def trace(self, origins: Float[np.ndarray, "m 3"], directions: Float[np.ndarray, "n 3"]) -> Hits:
        """Find the first surface that each ray meets, in the precision of `directions`.

        Args:
            origins: one per ray, or one for all; then only surfaces within the cone of the rays are looked at.
            directions: of any length; at length z = 1 in a camera's frame the distance is the depth.
        """
        looked_at = self._candidates(origins[0], directions) if len(origins) == 1 else np.arange(len(self.surfaces))
        if not len(looked_at):
            return _nothing(directions)
        distances = self._distances(looked_at, origins.astype(directions.dtype), directions)
        nearest = distances.argmin(1)
        distance = distances[np.arange(len(directions)), nearest]
        surface = np.where(np.isfinite(distance), looked_at[nearest], -1)
        points = origins + np.where(surface >= 0, distance, 0)[:, None] * directions
        uv = np.zeros((len(directions), 2), directions.dtype)
        for stack, first, end in self._stacks:
            rays = np.flatnonzero((surface >= first) & (surface < end))
            if len(rays):
                uv[rays] = stack.texture_position(surface[rays] - first, points[rays].astype(directions.dtype))
        return Hits(distance=distance, surface=surface, uv=uv)

    def is_free(self, origins: Float[np.ndarray, "n 3"], direction: Float[np.ndarray, " 3"]) -> Bool[np.ndarray, " n"]:
        """Return from where a parallel beam meets nothing."""
        everything = np.arange(len(self.surfaces))
        distances = self._distances(everything, origins.astype(direction.dtype), direction[None])
        return np.asarray(np.isinf(distances).all(1))

    def _distances(self, chosen: Int64[np.ndarray, " k"], origins: Rays, directions: Rays) -> Distances:
        found = []
        for stack, first, end in self._stacks:
            members = chosen[(chosen >= first) & (chosen < end)] - first
            if len(members):
                found.append(stack.intersect(members, origins, directions))
        return np.concatenate(found, axis=1)

    def colour(self, hits: Hits, directions: Float[np.ndarray, "n 3"], ray_width: float) -> Float32[np.ndarray, "n 3"]:
        """Return the colours (0 to 255) of what rays meet; the sky where they meet nothing.

        Args:
            hits: the answer of `trace`.
            directions: of the rays.
            ray_width: angle between neighbouring rays in radians, which chooses the detail of the textures.
        """
        colours = np.empty((len(directions), 3), np.float32)
        missed = hits.surface < 0
        colours[missed] = _sky(directions[missed])
        length = _length(directions)
        for index in np.flatnonzero(np.bincount(hits.surface + 1)[1:]):
            rays = np.flatnonzero(hits.surface == index)
            pyramid = self._pyramids[index]
            width = hits.distance[rays] * length[rays] * ray_width * self._texels_per_metre[index]
            level = np.clip(np.log2(np.maximum(width, 1)), 0, len(pyramid) - 1).astype(int)
            for detail in np.flatnonzero(np.bincount(level)):
                seen = rays[level == detail]
                colours[seen] = _sample(
                    pyramid[detail], hits.uv[seen], wraps=not isinstance(self.surfaces[index], Quad)
                )
        return colours

    def _candidates(
        self, origin: Float[np.ndarray, "3"], directions: Float[np.ndarray, "n 3"]
    ) -> Int64[np.ndarray, " k"]:
        """Return the surfaces that face the origin and whose bounding sphere reaches into the cone around the rays."""
        length = _length(directions)
        axis = (1 / length) @ directions
        axis /= np.linalg.norm(axis)
        half_angle = np.arccos(np.clip((directions @ axis / length).min(), -1, 1))
        towards = self._middle - origin
        away = np.linalg.norm(towards, axis=-1)
        angle = np.arccos(np.clip(towards @ axis / np.maximum(away, 1e-9), -1, 1))
        reach = np.arcsin(np.clip(self._reach / np.maximum(away, 1e-9), 0, 1))
        possible = (away <= self._reach) | (angle <= half_angle + reach + 1e-3)
        possible[: self._num_quads] &= self._quads.face(origin)
        return np.flatnonzero(possible)


def _nothing(directions: Float[np.ndarray, "n 3"]) -> Hits:
    n = len(directions)
    return Hits(
        distance=np.full(n, np.inf, directions.dtype), surface=np.full(n, -1), uv=np.zeros((n, 2), directions.dtype)
    )


def _length(directions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    return np.asarray(np.sqrt(np.einsum("ni,ni->n", directions, directions)))


def _sky(directions: Float[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n 3"]:
    height = np.clip(directions[:, 2] / _length(directions), 0, 1)[:, None] ** 0.7
    return np.asarray(_SKY_AT_HORIZON + height * (_SKY_OVERHEAD - _SKY_AT_HORIZON), np.float32)


def _pyramid(texture: Texture) -> tuple[Texture, ...]:
    levels = [texture]
    while min(levels[-1].shape[:2]) >= 16 and len(levels) < 6:
        levels.append(cv2.pyrDown(levels[-1]))
    return tuple(levels)


def _sample(texture: Texture, uv: Float[np.ndarray, "n 2"], wraps: bool) -> Float32[np.ndarray, "n 3"]:
    """Interpolate a texture bilinearly."""
    xy = (uv * (texture.shape[1], texture.shape[0]) - 0.5).astype(np.float32)
    border = cv2.BORDER_WRAP if wraps else cv2.BORDER_REPLICATE
    # OpenCV limits the sides of a map to 32767.
    parts = [xy[start : start + 16384] for start in range(0, len(xy), 16384)]
    sampled = [cv2.remap(texture, part[:, 0], part[:, 1], cv2.INTER_LINEAR, borderMode=border) for part in parts]
    return np.concatenate([part.reshape(-1, 3) for part in sampled]).astype(np.float32)
