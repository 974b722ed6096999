"""Points that other views look through: in front of a surface that another photograph sees, nothing can be."""

import itertools
from collections.abc import Sequence
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dust3r_sfm.alignment.depth.full import pixel_rays
from dust3r_sfm.alignment.reading import NOTHING
from dust3r_sfm.geometry.transforms import centres, compose, invert
from dust3r_sfm.system.compiled import compiled
from dust3r_sfm.types import is_known

_MAX_VIEWS = 8
"""Views that check each photograph: of its pairs, from the shortest baseline to the longest; chosen by hand."""
_MIN_MARGIN_OF_DEPTH = 0.02
"""How far a point may lie before a surface in any case; chosen by hand."""
_MARGIN_OF_RESIDUAL = 3
"""How far it may lie before one, over the residual of the pair; chosen by hand."""

DepthMaps = Sequence[Float32[np.ndarray, "_ _"]]


def without_contradicted(
    depths: DepthMaps,
    confidences: DepthMaps,
    intrinsics: Float64[np.ndarray, "n 3 3"],
    cam_from_world: Float64[np.ndarray, "n 3 4"],
    edges: Int64[np.ndarray, "e 2"],
    weights: Float64[np.ndarray, " e"],
    residuals: Float64[np.ndarray, " e"],
) -> tuple[Float32[np.ndarray, "_ _"], ...]:
    """Take away the confidence of points that lie in front of what other views see, more surely than others confirm it.

    Each view that a point falls into contradicts it (the view's surface is behind), confirms it (the surface is there)
    or says nothing (the point is hidden). All votes count by their confidence, its own included, and by what the depth
    maps said before any point lost its confidence, so the order of the images does not matter.

    Args:
        depths, confidences: per image, depth of each network pixel (0: unknown) and its confidence, at least 1.
        intrinsics: pinhole matrices in network pixels.
        cam_from_world: poses.
        edges: directed pairs.
        weights: their robust weights; pairs of weight 0 do not check each other.
        residuals: their median distance over depth.

    Returns:
        The confidences; nothing is known where a point is contradicted.
    """
    partners = _partners(len(depths), edges[weights > 0], residuals[weights > 0], centres(cam_from_world))
    kept = []
    for index, (depth, confidence) in enumerate(zip(depths, confidences, strict=True)):
        pixels = np.flatnonzero((depth.ravel() > 0) & is_known(confidence.ravel()))
        if index not in partners or not len(pixels):
            kept.append(confidence)
            continue
        viewing = pixel_rays(depth.shape[0], depth.shape[1], intrinsics[index])
        balance = confidence.ravel() - NOTHING
        world_from_cam = invert(cam_from_world[index])
        for other, margin in partners[index]:
            matrix = intrinsics[other] @ compose(cam_from_world[other], world_from_cam)
            _vote(pixels, viewing, depth, matrix, depths[other], confidences[other], margin, balance)
        confidence = confidence.copy()
        confidence.reshape(-1)[balance < 0] = NOTHING
        kept.append(confidence)
    return tuple(kept)


def _partners(
    num_images: int,
    edges: Int64[np.ndarray, "e 2"],
    residuals: Float64[np.ndarray, " e"],
    positions: Float64[np.ndarray, "n 3"],
) -> dict[int, list[tuple[int, float]]]:
    """Choose for each image the views that check it, and how far a point may lie before their surfaces."""
    margins: dict[tuple[int, int], float] = {}
    for (i, j), residual in zip(edges.tolist(), residuals.tolist(), strict=True):
        for pair in ((i, j), (j, i)):
            margins[pair] = max(margins.get(pair, _MIN_MARGIN_OF_DEPTH), _MARGIN_OF_RESIDUAL * residual)
    chosen = {}
    for index, group in itertools.groupby(sorted(margins), key=lambda pair: pair[0]):
        others = np.array([other for _, other in group])
        order = others[np.argsort(np.linalg.norm(positions[others] - positions[index], axis=1), kind="stable")]
        spread = np.unique(np.linspace(0, len(order) - 1, min(_MAX_VIEWS, len(order))).round().astype(np.int64))
        chosen[index] = [(int(other), margins[index, int(other)]) for other in order[spread]]
    return chosen


@compiled
@no_type_check
def _vote(pixels, viewing, own, matrix, depth, confidence, margin, balance):
    """Add to the balance of points what another view says: its confidence if it confirms, less if it contradicts.

    Args:
        pixels: those that are asked about (k,).
        viewing: rays of all pixels, x and y (2, h w).
        own: depth of all pixels (h, w).
        matrix: pixel of the other view from point, homogeneous (3, 4).
        depth, confidence: of the other view.
        margin: share of its depth that a point may lie before or behind a surface.
        balance: of all pixels; changed (h w,).
    """
    height, width = depth.shape
    near_factor, far_factor = np.float32(1 - margin), np.float32(1 + margin)
    m, depths = matrix.astype(np.float32), own.reshape(-1)
    for p in pixels:
        z = depths[p]
        x, y = viewing[0, p] * z, viewing[1, p] * z
        ahead = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
        if not ahead > 0:
            continue
        column = (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) / ahead
        row = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) / ahead
        if not (column >= 0 and column < width and row >= 0 and row < height):
            continue
        c, r = int(column), int(row)
        # The nearest and the farthest surface around the pixel, so that its slope is no contradiction.
        left, right, near, far = max(c - 1, 0), min(c + 1, width - 1), depth[r, c], depth[r, c]
        for i in (max(r - 1, 0), r, min(r + 1, height - 1)):
            near = min(near, min(depth[i, left], min(depth[i, c], depth[i, right])))
            far = max(far, max(depth[i, left], max(depth[i, c], depth[i, right])))
        # Around an unknown pixel `near` is 0: nothing is before it, and its surface confirms nothing.
        if ahead < near_factor * near:
            balance[p] -= confidence[r, c] - NOTHING
        elif near > 0 and ahead < far_factor * far:
            balance[p] += confidence[r, c] - NOTHING
