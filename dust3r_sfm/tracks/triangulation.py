"""Points with their observations as flat tables, and their robust triangulation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.geometry.pinhole import triangulate
from dust3r_sfm.system.compiled import compiled
from dust3r_sfm.tracks.cameras import PosedCameras
from dust3r_sfm.types import Tracks

_MAX_ROUNDS = 10
"""Rounds of dropping each track's worst observation; after them all that are over the limit go at once; chosen by
hand."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """Tracks on their way to being triangulated, ordered by track.

    Attributes:
        cameras: of all images.
        tracks: points, NaN where not known yet, and their observations in raw pixels.
        xy: the observations without lens distortion, in raw pixels (o, 2).
    """

    cameras: PosedCameras
    tracks: Tracks
    xy: Float64[np.ndarray, "o 2"]

    @staticmethod
    def of(cameras: PosedCameras, tracks: Tracks) -> "Points":
        """Tracks of cameras whose distortion is taken out."""
        xy = tracks.xy.copy()
        for image in np.unique(tracks.image_of).tolist():
            seen = tracks.image_of == image
            xy[seen] = cameras.undistort(image, xy[seen])
        return Points(cameras=cameras, tracks=tracks, xy=xy)

    def __len__(self) -> int:
        return len(self.tracks.xyz)

    @property
    def track_of(self) -> Int64[np.ndarray, " o"]:
        """Track of each observation."""
        return self.tracks.track_of

    @property
    def image_of(self) -> Int64[np.ndarray, " o"]:
        """Image of each observation."""
        return self.tracks.image_of

    @property
    def lengths(self) -> Int64[np.ndarray, " t"]:
        """Number of observations of each point."""
        return np.bincount(self.track_of, minlength=len(self)).astype(np.int64)

    def moved(self, xyz: Float64[np.ndarray, "t 3"]) -> "Points":
        """The same observations of points at other places."""
        return replace(self, tracks=replace(self.tracks, xyz=xyz))

    def keep(self, observations: Bool[np.ndarray, " o"]) -> "Points":
        """Keep some observations, and the points that still have at least two."""
        kept = self.tracks.still_tracked(observations)
        return replace(self, tracks=self.tracks.take(kept), xy=self.xy[kept])

    def select(self, points: Bool[np.ndarray, " t"]) -> "Points":
        """Keep some points with all their observations."""
        return self.keep(points[self.track_of])

    def joined(self, other: "Points") -> "Points":
        """Put another table of the same cameras behind this one."""
        return replace(self, tracks=joined([self.tracks, other.tracks]), xy=np.concatenate([self.xy, other.xy]))

    def rays(self) -> Float64[np.ndarray, "o 3"]:
        """Viewing ray of each observation in its camera's frame, z = 1."""
        matrix = self.cameras.matrices[self.image_of]
        xy = (self.xy - matrix[:, :2, 2]) / matrix[:, (0, 1), (0, 1)]
        return np.hstack([xy, np.ones((len(xy), 1))])

    def directions(self) -> Float64[np.ndarray, "o 3"]:
        """Viewing ray of each observation in the world, of length 1."""
        rays = np.einsum("oji,oj->oi", self.cameras.cam_from_world[self.image_of, :, :3], self.rays())
        directions: Float64[np.ndarray, "o 3"] = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        return directions

    def in_cameras(self) -> Float64[np.ndarray, "o 3"]:
        """The point of each observation in the frame of its camera."""
        cam_from_world = self.cameras.cam_from_world[self.image_of]
        moved = np.einsum("oij,oj->oi", cam_from_world[:, :, :3], self.tracks.xyz[self.track_of])
        in_cameras: Float64[np.ndarray, "o 3"] = moved + cam_from_world[:, :, 3]
        return in_cameras

    def errors(self) -> Float64[np.ndarray, " o"]:
        """Reprojection error of each observation in raw pixels; infinite where the point is not in front."""
        points = self.in_cameras()
        in_front = points[:, 2] > 0
        z = np.where(in_front, points[:, 2], 1.0)
        matrix = self.cameras.matrices[self.image_of]
        projected = points[:, :2] / z[:, None] * matrix[:, (0, 1), (0, 1)] + matrix[:, :2, 2]
        return np.where(in_front, np.linalg.norm(projected - self.xy, axis=1), np.inf)

    def largest_angles(self) -> Float64[np.ndarray, " t"]:
        """Widest angle between two rays of each point in degrees: from the first to the farthest, and on from there.

        At least half the true widest angle, and equal to it where the rays fan out in one plane.
        """
        direction = self.directions()
        start = np.searchsorted(self.track_of, np.arange(len(self)))
        for _ in range(2):
            cosine = np.sum(direction * direction[start][self.track_of], axis=1)
            start = first_of_each(self.track_of, cosine)
        angles: Float64[np.ndarray, " t"] = np.degrees(np.arccos(np.clip(cosine[start], -1.0, 1.0)))
        return angles


def joined(parts: Sequence[Tracks]) -> Tracks:
    """Put tables of tracks behind one another."""
    starts = np.cumsum([0, *(len(part.xyz) for part in parts)])
    return Tracks(
        xyz=np.concatenate([part.xyz for part in parts]),
        rgb=np.concatenate([part.rgb for part in parts]),
        track_of=np.concatenate([part.track_of + start for part, start in zip(parts, starts[:-1], strict=True)]),
        image_of=np.concatenate([part.image_of for part in parts]),
        xy=np.concatenate([part.xy for part in parts]),
    )


def first_of_each(group_of: Int64[np.ndarray, " o"], value: Float64[np.ndarray, " o"]) -> Int64[np.ndarray, " g"]:
    """Index of the smallest value of each group that occurs, in order of the groups; NaN counts as the largest."""
    first = _first_of_each(group_of, value, int(group_of.max(initial=-1)) + 1)
    return np.asarray(first[first >= 0])


@compiled
@no_type_check
def _first_of_each(group_of, value, count):
    first = np.full(count, -1)
    for o in range(len(group_of)):
        best = first[group_of[o]]
        if best < 0 or value[o] < value[best] or (np.isnan(value[best]) and not np.isnan(value[o])):
            first[group_of[o]] = o
    return first


def triangulate_robustly(points: Points, max_errors: Float64[np.ndarray, " n"]) -> Points:
    """Triangulate points from their rays, dropping each one's worst observation until all are within the limit.

    Args:
        points: the table; its `xyz` is not used.
        max_errors: largest reprojection error in raw pixels, per image.

    Returns:
        The points that at least two observations agree on; every observation is within its image's limit.
    """

    def excess(points: Points) -> Float64[np.ndarray, " o"]:
        ratio: Float64[np.ndarray, " o"] = points.errors() / max_errors[points.image_of]
        return ratio

    points = _retriangulate(points, np.ones(len(points), dtype=bool))
    for _ in range(_MAX_ROUNDS):
        error = excess(points)
        bad = np.bincount(points.track_of, weights=~(error <= 1.0), minlength=len(points)) > 0
        if not bad.any():
            return points
        dropped = first_of_each(points.track_of, -error)[bad]
        kept = np.ones(len(error), dtype=bool)
        kept[dropped] = False
        points = _keep_and_retriangulate(points, kept, bad)
    within = excess(points) <= 1.0
    bad = np.bincount(points.track_of, weights=~within, minlength=len(points)) > 0
    points = _keep_and_retriangulate(points, within, bad)
    return points.keep(excess(points) <= 1.0)


def _keep_and_retriangulate(points: Points, kept: Bool[np.ndarray, " o"], changed: Bool[np.ndarray, " t"]) -> Points:
    """Keep some observations and triangulate the points that changed once more."""
    surviving = np.bincount(points.track_of[kept], minlength=len(points)) >= 2
    return _retriangulate(points.keep(kept), changed[surviving])


def _retriangulate(points: Points, wanted: Bool[np.ndarray, " t"]) -> Points:
    """Triangulate the wanted points; the others stay."""
    part = points.select(wanted)
    xyz = points.tracks.xyz.copy()
    poses = points.cameras.cam_from_world[part.image_of]
    xyz[wanted] = triangulate(poses, part.rays(), part.track_of, len(part))
    return points.moved(xyz)
