"""Rectangles, spheres and columns: where a texture position lies in space, and where rays meet it.

Every `intersect` takes origins (m, 3) and directions (n, 3), where m = n or one of them is 1, and returns the distances
to the k chosen surfaces, infinite where a ray misses; every `texture_position` takes points and the surface of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

Points = Float64[np.ndarray, "_ 3"]
Rays = Float[np.ndarray, "_ 3"]
Distances = Float[np.ndarray, "_ k"]
_NEAREST_METRES = 1e-4
"""Crossings closer than this are the surface that the ray starts on: chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Quad:
    """A rectangle, seen only from the side that `side_v × side_u` points to; these are the directions of u and v."""

    corner: Float64[np.ndarray, "3"]
    side_u: Float64[np.ndarray, "3"]
    side_v: Float64[np.ndarray, "3"]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the texture in metres."""
        return float(np.linalg.norm(self.side_u)), float(np.linalg.norm(self.side_v))

    def at(self, uv: Float64[np.ndarray, "n 2"]) -> tuple[Points, Points]:
        """Return the points and outward unit normals at texture positions."""
        normal = np.cross(self.side_v, self.side_u)
        points = self.corner + uv @ np.stack([self.side_u, self.side_v])
        return points, np.tile(normal / np.linalg.norm(normal), (len(uv), 1))


@dataclass(frozen=True, kw_only=True)
class Sphere:
    """A ball; u is the longitude, v the angle from the top."""

    centre: Float64[np.ndarray, "3"]
    radius: float

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the texture in metres."""
        return 2 * np.pi * self.radius, np.pi * self.radius

    def at(self, uv: Float64[np.ndarray, "n 2"]) -> tuple[Points, Points]:
        """Return the points and outward unit normals at texture positions."""
        longitude, polar = 2 * np.pi * uv[:, 0], np.pi * uv[:, 1]
        normals = np.stack(
            [np.cos(longitude) * np.sin(polar), np.sin(longitude) * np.sin(polar), np.cos(polar)], axis=-1
        )
        return self.centre + self.radius * normals, normals


@dataclass(frozen=True, kw_only=True)
class Column:
    """The side of an upright cylinder; `foot` is the centre of its lower end, u is the longitude, v runs down."""

    foot: Float64[np.ndarray, "3"]
    radius: float
    height: float

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the texture in metres."""
        return 2 * np.pi * self.radius, self.height

    def at(self, uv: Float64[np.ndarray, "n 2"]) -> tuple[Points, Points]:
        """Return the points and outward unit normals at texture positions."""
        longitude = 2 * np.pi * uv[:, 0]
        normals = np.stack([np.cos(longitude), np.sin(longitude), np.zeros(len(uv))], axis=-1)
        return self.foot + self.radius * normals + np.outer(1 - uv[:, 1], [0, 0, self.height]), normals


Surface = Quad | Sphere | Column


class Quads:
    """Many rectangles."""

    def __init__(self, quads: Sequence[Quad]) -> None:
        sides = [np.stack([q.side_u, q.side_v, np.cross(q.side_v, q.side_u)], axis=1) for q in quads]
        self._local = np.linalg.inv(np.array(sides).reshape(-1, 3, 3))
        self._corner = np.einsum("kij,kj->ki", self._local, np.array([q.corner for q in quads]).reshape(-1, 3))

    def face(self, origin: Float[np.ndarray, " 3"]) -> Bool[np.ndarray, " k"]:
        """Return which rectangles turn their seen side to a point."""
        return np.asarray(self._local[:, 2] @ origin > self._corner[:, 2])

    def intersect(self, chosen: Int64[np.ndarray, " k"], origins: Rays, directions: Rays) -> Distances:
        """In a rectangle's own coordinates it is the unit square at height 0, seen from above."""
        local = self._local[chosen].astype(directions.dtype)
        corner = self._corner[chosen].astype(directions.dtype)
        climb = directions @ local[:, 2].T
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = (corner[:, 2] - origins @ local[:, 2].T) / climb
            u = distance * (directions @ local[:, 0].T) + (origins @ local[:, 0].T - corner[:, 0])
            v = distance * (directions @ local[:, 1].T) + (origins @ local[:, 1].T - corner[:, 1])
        meets = (climb < 0) & (distance > _NEAREST_METRES) & (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
        return np.where(meets, distance, np.inf)

    def texture_position(
        self, surface: Int64[np.ndarray, " n"], points: Float[np.ndarray, "n 3"]
    ) -> Float[np.ndarray, "n 2"]:
        """Return u and v, 0 to 1."""
        local, corner = self._local.astype(points.dtype), self._corner.astype(points.dtype)
        return np.asarray(np.einsum("nij,nj->ni", local[surface, :2], points) - corner[surface, :2])


class Spheres:
    """Many balls."""

    def __init__(self, spheres: Sequence[Sphere]) -> None:
        self._centre = np.array([s.centre for s in spheres]).reshape(-1, 3)
        self._radius = np.array([s.radius for s in spheres])

    def intersect(self, chosen: Int64[np.ndarray, " k"], origins: Rays, directions: Rays) -> Distances:
        """The nearer root of |origin + distance · direction − centre|² = radius²."""
        return _nearer_root(origins, directions, self._centre[chosen], self._radius[chosen])

    def texture_position(
        self, surface: Int64[np.ndarray, " n"], points: Float[np.ndarray, "n 3"]
    ) -> Float[np.ndarray, "n 2"]:
        """Return u and v, 0 to 1."""
        normal = (points - self._centre[surface]) / self._radius[surface, None]
        polar = np.arccos(np.clip(normal[:, 2], -1, 1))
        return np.stack([_longitude(normal), polar / np.pi], axis=-1).astype(points.dtype)


class Columns:
    """Many upright cylinders."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._foot = np.array([c.foot for c in columns]).reshape(-1, 3)
        self._radius = np.array([c.radius for c in columns])
        self._height = np.array([c.height for c in columns])

    def intersect(self, chosen: Int64[np.ndarray, " k"], origins: Rays, directions: Rays) -> Distances:
        """The nearer root of the circle seen from above, if it lies between foot and head."""
        distance = _nearer_root(origins[:, :2], directions[:, :2], self._foot[chosen, :2], self._radius[chosen])
        with np.errstate(invalid="ignore"):
            height = origins[:, 2:] - self._foot[chosen, 2].astype(distance.dtype) + distance * directions[:, 2:]
        meets = (height >= 0) & (height <= self._height[chosen].astype(distance.dtype))
        return np.where(meets, distance, np.inf)

    def texture_position(
        self, surface: Int64[np.ndarray, " n"], points: Float[np.ndarray, "n 3"]
    ) -> Float[np.ndarray, "n 2"]:
        """Return u and v, 0 to 1."""
        offset = points - self._foot[surface]
        return np.stack([_longitude(offset), 1 - offset[:, 2] / self._height[surface]], axis=-1).astype(points.dtype)


def _longitude(offset: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    return np.asarray(np.arctan2(offset[:, 1], offset[:, 0]) / (2 * np.pi) % 1)


def _nearer_root(
    origins: Float[np.ndarray, "_ d"],
    directions: Float[np.ndarray, "_ d"],
    centre: Float64[np.ndarray, "k d"],
    radius: Float64[np.ndarray, " k"],
) -> Distances:
    """Return the distance to circles (d = 2) or spheres (d = 3), infinite where the near side is not ahead."""
    centre, radius = centre.astype(directions.dtype), radius.astype(directions.dtype)
    a = np.einsum("ni,ni->n", directions, directions)[:, None]
    half_b = np.einsum("...i,...i->...", origins, directions)[:, None] - directions @ centre.T
    c = sum((origins[:, axis, None] - centre[:, axis]) ** 2 for axis in range(centre.shape[1])) - radius**2
    under_root = half_b**2 - a * c
    with np.errstate(divide="ignore", invalid="ignore"):
        root = (-half_b - np.sqrt(np.maximum(under_root, 0))) / a
    return np.where((under_root > 0) & (root > _NEAREST_METRES), root, np.inf)
