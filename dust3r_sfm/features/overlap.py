"""Which pairs of a scene's images see the same surface, by the aligned depth."""

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.geometry.transforms import compose, invert
from dust3r_sfm.types import Edge, Scene

_SAMPLES = 12
"""Pixels per side of the lattice that is carried from image to image."""

_SAME_SURFACE = 0.15
"""Largest difference of two depths of one surface, as a share."""

_MIN_SHARE = 0.05
"""Share of an image that another must see."""


def overlapping_pairs(scene: Scene, max_neighbours: int) -> list[Edge]:
    """Pairs (i, j), i < j, of registered images that overlap: those that were aligned, and those that depth shows.

    Args:
        scene: cameras and depths.
        max_neighbours: each image keeps so many of those it overlaps most, beside its aligned pairs.
    """
    share = _overlaps(scene)
    share = np.maximum(share, share.T)
    np.fill_diagonal(share, 0.0)
    ranked = np.argsort(-share, axis=1, kind="stable")[:, :max_neighbours]
    chosen = np.zeros(share.shape, dtype=bool)
    np.put_along_axis(chosen, ranked, np.take_along_axis(share, ranked, axis=1) >= _MIN_SHARE, axis=1)
    aligned = scene.edges[scene.edge_weights > 0]
    chosen[aligned[:, 0], aligned[:, 1]] = True
    chosen &= scene.registered[:, None] & scene.registered
    return [(int(i), int(j)) for i, j in np.argwhere(np.triu(chosen | chosen.T, 1))]


def _overlaps(scene: Scene) -> Float64[np.ndarray, "n n"]:
    """Share of the pixels of image i (rows) that image j (columns) sees at the same depth."""
    count = len(scene.names)
    share = np.zeros((count, count))
    for i in np.flatnonzero(scene.registered):
        points = _lattice_points(scene, int(i))
        if len(points) == 0:
            continue
        cam_from_i = compose(scene.cam_from_world, invert(scene.cam_from_world[i]))
        for j in np.flatnonzero(scene.registered):
            moved = points @ cam_from_i[j, :, :3].T + cam_from_i[j, :, 3]
            moved = moved[moved[:, 2] > 0]
            xy = moved[:, :2] / moved[:, 2:] * scene.intrinsics[j, (0, 1), (0, 1)] + scene.intrinsics[j, :2, 2]
            inside = np.all((xy >= 0) & (xy < scene.network_sizes[j]), axis=1)
            column, row = xy[inside].astype(np.int64).T
            depth = scene.depths[j][row, column]
            same = np.abs(moved[inside, 2] - depth) <= _SAME_SURFACE * depth
            share[i, j] = same.sum() / _SAMPLES**2
    return share


def _lattice_points(scene: Scene, index: int) -> Float64[np.ndarray, "p 3"]:
    """Points of a lattice of an image's pixels, in its camera's frame."""
    height, width = scene.depths[index].shape
    column, row = np.meshgrid(
        ((np.arange(_SAMPLES) + 0.5) * width / _SAMPLES).astype(np.int64),
        ((np.arange(_SAMPLES) + 0.5) * height / _SAMPLES).astype(np.int64),
    )
    depth = scene.depths[index][row, column].ravel().astype(np.float64)
    matrix = scene.intrinsics[index]
    xy = (np.column_stack([column.ravel(), row.ravel()]) + 0.5 - matrix[:2, 2]) / matrix[(0, 1), (0, 1)]
    return np.column_stack([xy * depth[:, None], depth])[depth > 0]
