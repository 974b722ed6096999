"""Keypoint matches where the aligned geometry allows them, so that repeated structure is not confused.

A keypoint of one photograph has a depth, and with it a place in the other photograph. Only keypoints near that place
compete for the match, and the ratio test is between them.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from dust3r_sfm.system.compiled import compiled

_PER_CELL = 4
"""Keypoints are looked up in a grid with so many to a cell."""

_MIN_SIMILARITY = 0.765
_MAX_RATIO = 0.8
"""Least inner product of two descriptors that match, and largest angle between them over that to the second nearest
inside the gate; COLMAP's own."""


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
    rows, start, end = _segments(sight1, cam2_from_cam1, gate.depth)
    columns = np.flatnonzero(np.isfinite(sight2.xy).all(axis=1))  # a lens may have no ray for a pixel
    if len(rows) == 0 or len(columns) == 0:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    grid = _Grid.of(sight2.xy[columns])
    columns = columns[grid.order]
    best1, best2 = (
        _Best(*found)
        for found in _two_best(
            start,
            end,
            gate.across,
            sight1.descriptors[rows],
            sight2.xy[columns],
            sight2.descriptors[columns],
            grid.first,
            grid.corner,
            grid.side,
        )
    )
    chosen = np.flatnonzero(best1.is_clear() & (best2.partner[best1.partner] == np.arange(len(rows))))
    partner = best1.partner[chosen]
    clear = best2.is_clear()[partner]
    pairs = np.column_stack([rows[chosen[clear]], columns[partner[clear]]])
    return pairs, best1.first[chosen[clear]].astype(np.float64)


@dataclass(frozen=True)
class _Best:
    """What keypoints of one photograph found in the other.

    Attributes:
        partner: the most similar keypoint, -1 where nothing was inside the gate (k,).
        first, second: its similarity, and that of its runner-up; -1 where nothing (k,).
    """

    partner: Int64[np.ndarray, " k"]
    first: Float32[np.ndarray, " k"]
    second: Float32[np.ndarray, " k"]

    def is_clear(self) -> Bool[np.ndarray, " k"]:
        """Whether the best is similar, and clearly more so than the runner-up."""
        angle, next_angle = (np.arccos(np.clip(value, -1.0, 1.0)) for value in (self.first, self.second))
        clear: Bool[np.ndarray, " k"] = (self.first >= _MIN_SIMILARITY) & (angle <= _MAX_RATIO * next_angle)
        return clear


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Places sorted into square cells.

    Attributes:
        order: the places, row by row of cells (k,).
        first: the first of each cell in that order, and the end; a row and column more than there are places (r, c).
        corner: of the first cell (2,).
        side: of a cell.
    """

    order: Int64[np.ndarray, " k"]
    first: Int64[np.ndarray, "r c"]
    corner: Float64[np.ndarray, " 2"]
    side: float

    @staticmethod
    def of(xy: Float64[np.ndarray, "k 2"]) -> "_Grid":
        corner, extent = xy.min(axis=0), float(np.ptp(xy, axis=0).max())
        side = max(extent * np.sqrt(_PER_CELL / len(xy)), 1e-9)
        column, row = ((xy - corner) / side).astype(np.int64).T
        width = int(column.max()) + 2
        cell = row * width + column
        order = np.argsort(cell, kind="stable")
        first = np.searchsorted(cell[order], np.arange((int(row.max()) + 1) * width)).reshape(-1, width)
        return _Grid(order=order, first=first, corner=corner, side=side)


@compiled
@no_type_check
def _two_best(start, end, across, looks1, xy2, looks2, first, corner, side):
    """Return partner, similarity and runner-up's of keypoints with places from `start` to `end`, and of those there.

    `xy2` and `looks2` are in the grid's order. Inside is what lies in the rectangle around a segment.
    """
    partner1, partner2 = np.full(len(looks1), -1), np.full(len(looks2), -1)
    best1, best2 = np.full(len(looks1), np.float32(-1)), np.full(len(looks2), np.float32(-1))
    next1, next2 = best1.copy(), best2.copy()
    for i in range(len(looks1)):
        x, y = start[i]
        length = np.hypot(end[i, 0] - x, end[i, 1] - y)
        along_x, along_y = 1.0, 0.0
        if length > 1e-9:  # shorter segments have no direction
            along_x, along_y = (end[i, 0] - x) / length, (end[i, 1] - y) / length
        reach = across * (abs(along_x) + abs(along_y))
        top = (min(y, end[i, 1]) - reach - corner[1]) / side
        bottom = (max(y, end[i, 1]) + reach - corner[1]) / side
        for row in range(max(int(np.floor(top)), 0), min(int(np.floor(bottom)), len(first) - 1) + 1):
            left, right = min(x, end[i, 0]) - reach, max(x, end[i, 0]) + reach
            if abs(along_y) > 0.1:  # how far the band of the line crosses this row of cells
                above = x + (corner[1] + row * side - y) * along_x / along_y
                below = above + side * along_x / along_y
                left = max(left, min(above, below) - across / abs(along_y))
                right = min(right, max(above, below) + across / abs(along_y))
            column1 = max(int(np.floor((left - corner[0]) / side)), 0)
            column2 = min(int(np.floor((right - corner[0]) / side)), first.shape[1] - 2)
            if column2 < column1:
                continue
            for j in range(first[row, column1], first[row, column2 + 1]):
                off_x, off_y = xy2[j, 0] - x, xy2[j, 1] - y
                forward = off_x * along_x + off_y * along_y
                if abs(off_y * along_x - off_x * along_y) > across or forward < -across or forward > length + across:
                    continue
                similarity = np.float32(0)
                for k in range(looks1.shape[1]):
                    similarity += looks1[i, k] * looks2[j, k]
                if similarity > best1[i]:
                    partner1[i], next1[i], best1[i] = j, best1[i], similarity
                elif similarity > next1[i]:
                    next1[i] = similarity
                if similarity > best2[j]:
                    partner2[j], next2[j], best2[j] = i, best2[j], similarity
                elif similarity > next2[j]:
                    next2[j] = similarity
    return (partner1, best1, next1), (partner2, best2, next2)


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
