"""Keypoint matches where the aligned geometry allows them, so that repeated structure is not confused.

A keypoint of one photograph has a depth, and with it a place in the other photograph. Only keypoints near that place
compete for the match, and the ratio test is between them.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dust3r_sfm.features.two_best import TwoBest
from dust3r_sfm.system.compiled import compiled

_PER_CELL = 4
"""Keypoints in a cell of the grid that they are looked up in. Chosen by hand."""

_MIN_SIMILARITY = 0.765
"""Least inner product of two descriptors that match (COLMAP's default, as the cosine of its largest distance)."""

_MAX_RATIO = 0.8
"""Largest angle between two descriptors over that to the second nearest inside the window (COLMAP's default)."""


@dataclass(frozen=True, kw_only=True)
class SearchWindow:
    """How far from its predicted place a keypoint may be matched.

    Attributes:
        across: distance from the epipolar line, in units of the focal length.
        depth: relative error of the depth that moves the place along the line.
    """

    across: float
    depth: float


@dataclass(frozen=True, kw_only=True)
class ProjectedKeypoints:
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
    keypoints1: ProjectedKeypoints,
    keypoints2: ProjectedKeypoints,
    cam2_from_cam1: Float64[np.ndarray, "3 4"],
    window: SearchWindow,
) -> tuple[Int64[np.ndarray, "m 2"], Float64[np.ndarray, " m"]]:
    """Match keypoints inside the window: mutual best, and clearly better than the second best.

    Args:
        keypoints1, keypoints2: keypoints of both photographs.
        cam2_from_cam1: pose in the units of the depths.
        window: tolerance around the predicted place.

    Returns:
        Keypoints of both photographs per match, ordered by the first; and the similarity of their descriptors.
    """
    rows, start, end = _segments(keypoints1, cam2_from_cam1, window.depth)
    columns = np.flatnonzero(np.isfinite(keypoints2.xy).all(axis=1))  # a lens may have no ray for a pixel
    if len(rows) == 0 or len(columns) == 0:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    grid = _Grid.of(keypoints2.xy[columns])
    columns = columns[grid.order]
    best1, best2 = (
        TwoBest(*tables)
        for tables in _two_best_inside(
            start,
            end,
            window.across,
            keypoints1.descriptors[rows],
            keypoints2.xy[columns],
            keypoints2.descriptors[columns],
            grid.first,
            grid.corner,
            grid.side,
        )
    )
    is_clear1, is_clear2 = (best.is_clear(_MIN_SIMILARITY, _MAX_RATIO) for best in (best1, best2))
    chosen = np.flatnonzero(is_clear1 & (best2.partner[best1.partner] == np.arange(len(rows))))
    chosen = chosen[is_clear2[best1.partner[chosen]]]
    pairs = np.column_stack([rows[chosen], columns[best1.partner[chosen]]])
    return pairs, best1.best[chosen].astype(np.float64)


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
def _two_best_inside(start, end, across, descriptors1, xy2, descriptors2, first, corner, side):
    """Return the fields of `TwoBest` for keypoints with places from `start` to `end`, and for those there.

    Inside is what lies in the rectangle around a segment.

    Args:
        start, end: ends of the segments of possible places at z = 1 (s, 2).
        across: how far from a segment a keypoint may lie, same units.
        descriptors1: of the keypoints with these segments (s, d).
        xy2, descriptors2: keypoints of the other photograph, in the grid's order (k, 2), (k, d).
        first, corner, side: see `_Grid`.
    """
    partner1, partner2 = np.full(len(descriptors1), -1), np.full(len(descriptors2), -1)
    best1, best2 = np.full(len(descriptors1), np.float32(-1)), np.full(len(descriptors2), np.float32(-1))
    next1, next2 = best1.copy(), best2.copy()
    for i in range(len(descriptors1)):
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
                for k in range(descriptors1.shape[1]):
                    similarity += descriptors1[i, k] * descriptors2[j, k]
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
    source: ProjectedKeypoints, target_from_source: Float64[np.ndarray, "3 4"], depth_error: float
) -> tuple[Int64[np.ndarray, " s"], Float64[np.ndarray, "s 2"], Float64[np.ndarray, "s 2"]]:
    """Keypoints with a depth, and the two ends of their places in the target as the depth varies."""
    rows = np.flatnonzero(source.depth > 0)
    rays = np.hstack([source.xy[rows], np.ones((len(rows), 1))]) @ target_from_source[:, :3].T
    depth = source.depth[rows, None]
    near, far = (rays * depth * factor + target_from_source[:, 3] for factor in (1 - depth_error, 1 + depth_error))
    seen = (near[:, 2] > 0) & (far[:, 2] > 0)
    rows, near, far = rows[seen].astype(np.int64), near[seen], far[seen]
    return rows, near[:, :2] / near[:, 2:], far[:, :2] / far[:, 2:]
