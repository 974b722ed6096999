"""Points that other views look through: in front of a surface that another photograph sees, nothing can be."""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

from dust3r_sfm.geometry.pinhole import rays
from dust3r_sfm.geometry.transforms import centres

MAX_VIEWS = 8
"""Views that check each photograph: of its pairs, from the shortest baseline to the longest."""
MIN_MARGIN = 0.02
"""Share of its depth that a point may lie before a surface in any case; otherwise three times the pair's residual."""

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
        The confidences, 1 where a point is contradicted.
    """
    partners = _partners(len(depths), edges[weights > 0], residuals[weights > 0], centres(cam_from_world))
    kept = []
    for index, (depth, confidence) in enumerate(zip(depths, confidences, strict=True)):
        pixels = np.flatnonzero((depth.ravel() > 0) & (confidence.ravel() > 1))
        if index not in partners or not len(pixels):
            kept.append(confidence)
            continue
        directions = (
            rays(depth.shape[0], depth.shape[1], intrinsics[index]).reshape(-1, 3)[pixels] * depth.ravel()[pixels, None]
        )
        rotation, shift = cam_from_world[index, :, :3], cam_from_world[index, :, 3]
        points = (rotation.T @ (directions - shift).T).astype(np.float32)
        balance = confidence.ravel()[pixels] - 1
        for other, margin in partners[index]:
            matrix = (intrinsics[other] @ cam_from_world[other]).astype(np.float32)
            seen, where, z = _pixels_of(matrix[:, :3] @ points + matrix[:, 3:], depths[other].shape)
            surface = (*_nearest_and_farthest(depths[other]), confidences[other])
            near, far, votes = (values.ravel().take(where) for values in surface)
            against, confirms = z < (1 - margin) * near, z < (1 + margin) * far
            # Around an unknown pixel `near` is 0: nothing is before it, and its surface confirms nothing.
            sign = (confirms & (near > 0)).astype(np.float32) - 2 * against.astype(np.float32)
            balance[seen] += (votes - 1) * sign
        confidence = confidence.copy()
        confidence.reshape(-1)[pixels[balance < 0]] = 1
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
            margins[pair] = max(margins.get(pair, MIN_MARGIN), 3 * residual)
    chosen = {}
    for index, group in itertools.groupby(sorted(margins), key=lambda pair: pair[0]):
        others = np.array([other for _, other in group])
        order = others[np.argsort(np.linalg.norm(positions[others] - positions[index], axis=1), kind="stable")]
        spread = np.unique(np.linspace(0, len(order) - 1, min(MAX_VIEWS, len(order))).round().astype(np.int64))
        chosen[index] = [(int(other), margins[index, int(other)]) for other in order[spread]]
    return chosen


def _nearest_and_farthest(
    depth: Float32[np.ndarray, "h w"],
) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Smallest and largest depth around each pixel; 0 where one of the nine is unknown."""
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.erode(depth, kernel)), np.asarray(cv2.dilate(depth, kernel))


def _pixels_of(
    projected: Float32[np.ndarray, "3 p"], shape: tuple[int, int]
) -> tuple[Int64[np.ndarray, " q"], Int32[np.ndarray, " q"], Float32[np.ndarray, " q"]]:
    """Say which points fall into a view, the index of the pixel that each of those falls on, and its depth there."""
    height, width = shape
    x, y, z = projected
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / z
        column, row = x * inverse, y * inverse
    seen = np.flatnonzero((z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height))
    where = row.take(seen).astype(np.int32) * width + column.take(seen).astype(np.int32)
    return seen, where, z.take(seen)
