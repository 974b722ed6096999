"""Keypoint matches where the aligned geometry allows them, so that repeated structure is not confused.

A keypoint of one photograph has a depth, and with it a place in the other photograph. Only keypoints near that place
compete for the match, and the ratio test is between them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from dust3r_sfm.colmap.features import Features

_SMALLEST_TILE = 0.04
"""Places in tiles of at least this share of the picture are compared with keypoints together."""

_MIN_SIMILARITY = 0.765
_MAX_RATIO = 0.8
"""Least inner product of two descriptors that match, and largest angle between them over that to the second nearest
inside the gate; COLMAP's own."""

_MIN_SIMILARITY_VERIFIED = 0.7
_MAX_RATIO_VERIFIED = 0.85
"""The same where RANSAC has the last word: more matches of which more are wrong."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """How far from its predicted place a keypoint may be matched.

    Attributes:
        across: distance from the epipolar line, in units of the focal length.
        depth: relative error of the depth that moves the place along the line.
    """

    across: float
    depth: float


@dataclass(frozen=True, kw_only=True)
class Sight:
    """Keypoints of one photograph, as its camera sees them.

    Attributes:
        xy: undistorted image coordinates at z = 1 (k, 2).
        depth: aligned depth of each, 0 where unknown (k,).
        descriptors: of length 1 (k, d).
    """

    xy: Float64[np.ndarray, "k 2"]
    depth: Float64[np.ndarray, " k"]
    descriptors: Float32[np.ndarray, "k d"]


def guided_matches(
    sight1: Sight, sight2: Sight, cam2_from_cam1: Float64[np.ndarray, "3 4"], gate: Gate
) -> tuple[Int64[np.ndarray, "m 2"], Float64[np.ndarray, " m"]]:
    """Match keypoints inside the gate: mutual best, and clearly better than the second best.

    Args:
        sight1, sight2: keypoints of both photographs.
        cam2_from_cam1: pose in the units of the depths.
        gate: tolerance around the predicted place.

    Returns:
        Keypoints of both photographs per match, ordered by the first; and the similarity of their descriptors.
    """
    best1, best2 = _Best.of_none(len(sight1.xy)), _Best.of_none(len(sight2.xy))
    for rows, columns, similarity in _tiles(sight1, sight2, cam2_from_cam1, gate):
        best1.see(rows, columns, similarity)
        best2.see(columns, rows, similarity.T)
    mutual = best2.partner[best1.partner] == np.arange(len(sight1.xy)) if len(sight2.xy) else best1.partner >= 0
    chosen = (best1.partner >= 0) & mutual & (best1.first >= _MIN_SIMILARITY)
    index1 = np.flatnonzero(chosen)
    index1 = index1[best1.is_clear()[index1] & best2.is_clear()[best1.partner[index1]]]
    return np.column_stack([index1, best1.partner[index1]]), best1.first[index1].astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class _Best:
    """What keypoints of one photograph found in the other so far; -1 where nothing.

    Attributes:
        partner: the most similar keypoint (k,).
        first, second: its similarity, and that of its runner-up (k,).
    """

    partner: Int64[np.ndarray, " k"]
    first: Float32[np.ndarray, " k"]
    second: Float32[np.ndarray, " k"]

    @staticmethod
    def of_none(count: int) -> "_Best":
        nothing = np.full(count, -1, np.float32)
        return _Best(partner=np.full(count, -1, np.int64), first=nothing, second=nothing.copy())

    def see(
        self,
        own: Int64[np.ndarray, " r"],
        others: Int64[np.ndarray, " c"],
        similarity: Float32[np.ndarray, "r c"],
    ) -> None:
        """Take note of some keypoints' similarities, -1 where they must not match."""
        row, column = np.arange(len(own)), similarity.argmax(axis=1)
        value = similarity[row, column]
        similarity[row, column] = -1.0
        runner_up = similarity.max(axis=1)
        similarity[row, column] = value
        first, better = self.first[own], value > self.first[own]
        self.second[own] = np.where(better, np.maximum(first, runner_up), np.maximum(self.second[own], value))
        self.partner[own] = np.where(better, others[column], self.partner[own])
        self.first[own] = np.maximum(first, value)

    def is_clear(self) -> Bool[np.ndarray, " k"]:
        """Whether the best is clearly better than the runner-up."""
        angle, next_angle = (np.arccos(np.clip(value, -1.0, 1.0)) for value in (self.first, self.second))
        clear: Bool[np.ndarray, " k"] = angle <= _MAX_RATIO * next_angle
        return clear


def _tiles(
    source: Sight, target: Sight, target_from_source: Float64[np.ndarray, "3 4"], gate: Gate
) -> Iterator[tuple[Int64[np.ndarray, " r"], Int64[np.ndarray, " c"], Float32[np.ndarray, "r c"]]]:
    """Keypoints with neighbouring places in the target, those found around there, and their similarity.

    It is -1 outside the gate. Each keypoint of the source occurs once, one of the target perhaps more often.
    """
    if len(target.xy) == 0:
        return
    rows, start, end = _segments(source, target_from_source, gate.depth)
    low, high = np.minimum(start, end) - gate.across, np.maximum(start, end) + gate.across
    inside = np.all((high >= target.xy.min(axis=0)) & (low <= target.xy.max(axis=0)), axis=1)
    rows, start, end, low, high = rows[inside], start[inside], end[inside], low[inside], high[inside]
    if len(rows) == 0:
        return
    reach = float(np.percentile((high - low).max(axis=1), 75)) / 2.0
    extent = float(np.ptp(target.xy, axis=0).max())
    tile = np.floor((start + end) / 2.0 / max(reach, _SMALLEST_TILE * extent, 1e-9)).astype(np.int64)
    tile_of = np.unique(tile, axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(tile_of, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(tile_of[order])) + 1):
        near = (target.xy >= low[members].min(axis=0)) & (target.xy <= high[members].max(axis=0))
        columns = np.flatnonzero(near[:, 0] & near[:, 1])
        if len(columns) == 0:
            continue
        similarity = source.descriptors[rows[members]] @ target.descriptors[columns].T
        similarity[~_within(start[members], end[members], target.xy[columns], gate.across)] = -1.0
        yield rows[members], columns, similarity


def _segments(
    source: Sight, target_from_source: Float64[np.ndarray, "3 4"], depth_error: float
) -> tuple[Int64[np.ndarray, " s"], Float64[np.ndarray, "s 2"], Float64[np.ndarray, "s 2"]]:
    """Keypoints with a depth, and the two ends of their places in the target as the depth varies."""
    rows = np.flatnonzero(source.depth > 0)
    rays = np.hstack([source.xy[rows], np.ones((len(rows), 1))]) @ target_from_source[:, :3].T
    depth = source.depth[rows, None]
    near, far = (rays * depth * factor + target_from_source[:, 3] for factor in (1 - depth_error, 1 + depth_error))
    seen = (near[:, 2] > 0) & (far[:, 2] > 0)
    rows, near, far = rows[seen].astype(np.int64), near[seen], far[seen]
    return rows, near[:, :2] / near[:, 2:], far[:, :2] / far[:, 2:]


_A_POINT = 1e-9
"""Segments that are shorter have no direction."""


def _within(
    start: Float64[np.ndarray, "r 2"],
    end: Float64[np.ndarray, "r 2"],
    places: Float64[np.ndarray, "c 2"],
    across: float,
) -> Bool[np.ndarray, "r c"]:
    """Whether places lie within a distance of line segments (in the rectangles around them)."""
    along = end - start
    length = np.linalg.norm(along, axis=1)
    along = np.where(length[:, None] > _A_POINT, along / np.maximum(length, _A_POINT)[:, None], [1.0, 0.0])
    normal = np.column_stack([-along[:, 1], along[:, 0]])
    targets = places.T.astype(np.float32)
    off = normal.astype(np.float32) @ targets - (normal * start).sum(axis=1, keepdims=True).astype(np.float32)
    forward = along.astype(np.float32) @ targets - (along * start).sum(axis=1, keepdims=True).astype(np.float32)
    length32 = length.astype(np.float32)[:, None]
    within: Bool[np.ndarray, "r c"] = (
        (np.abs(off) <= across) & (forward >= -across) & (forward <= length32 + np.float32(across))
    )
    return within


def verified_matches(
    features1: Features, features2: Features, seed: int
) -> tuple[Int64[np.ndarray, "m 2"], Float64[np.ndarray, " m"]]:
    """Match keypoints anywhere, and keep what one epipolar geometry explains (pycolmap's LO-RANSAC).

    For pairs whose alignment is too rough to say where to look.

    Args:
        features1, features2: keypoints of both photographs, in raw pixels.
        seed: of the sampling.

    Returns:
        Keypoints of both photographs per match, ordered by the first; and the similarity of their descriptors.
    """
    from dust3r_sfm._pycolmap import pycolmap

    nothing = np.zeros((0, 2), np.int64), np.zeros(0)
    if min(len(features1.xy), len(features2.xy)) < 2:
        return nothing
    descriptors1, descriptors2 = features1.unit_descriptors(), features2.unit_descriptors()
    first, second, similarity = _two_best(descriptors1, descriptors2)
    angle, next_angle = (np.arccos(np.clip(value, -1.0, 1.0)) for value in (similarity, second))
    clear = (similarity >= _MIN_SIMILARITY_VERIFIED) & (angle <= _MAX_RATIO_VERIFIED * next_angle)
    index1 = np.flatnonzero(clear)
    # Only what is clear needs to be looked up in the other direction.
    index1 = index1[_two_best(descriptors2[first[index1]], descriptors1)[0] == index1]
    if len(index1) < _MIN_VERIFIED:
        return nothing
    index2 = first[index1]
    options = pycolmap.RANSACOptions(max_error=_MAX_EPIPOLAR_ERROR, random_seed=seed, max_num_trials=2000)
    found = pycolmap.estimate_fundamental_matrix(features1.xy[index1], features2.xy[index2], options)
    if found is None or found["num_inliers"] < _MIN_VERIFIED:
        return nothing
    inlier = np.asarray(found["inlier_mask"], dtype=bool)
    return np.column_stack([index1, index2])[inlier].astype(np.int64), similarity[index1][inlier].astype(np.float64)


_MIN_VERIFIED = 15
"""Fewer matches that agree may do so by chance (COLMAP's own limit)."""
_MAX_EPIPOLAR_ERROR = 4.0
_BLOCK = 1024


def _two_best(
    descriptors1: Float32[np.ndarray, "n d"], descriptors2: Float32[np.ndarray, "m d"]
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """For each of the first the most similar of the second, the similarity of its runner-up, and its own."""
    nearest = [np.zeros(0, np.int64)]
    runner_up, best = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    for start in range(0, len(descriptors1), _BLOCK):
        similarity = descriptors1[start : start + _BLOCK] @ descriptors2.T
        row = np.arange(len(similarity))
        column = similarity.argmax(axis=1)
        nearest.append(column)
        best.append(similarity[row, column])
        similarity[row, column] = -1.0
        runner_up.append(similarity.max(axis=1))
    return np.concatenate(nearest), np.concatenate(runner_up), np.concatenate(best)
