"""Which pairs of images see the same surface, by the aligned depth."""

from collections.abc import Collection

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.geometry.transforms import apply, compose, invert
from dust3r_sfm.tracks.cameras import PosedCameras
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.types import Edge

_SAMPLES = 12
"""Pixels per side of the lattice that is carried from image to image; chosen by hand."""

_SAME_SURFACE_OF_DEPTH = 0.15
"""Largest difference of two depths of one surface, as a share; chosen by hand."""

_MIN_SHARE_OF_PIXELS = 0.05
"""Share of an image that another must see; chosen by hand."""


def overlapping_pairs(
    cameras: PosedCameras, depths: AlignedDepths, aligned: Collection[Edge], max_neighbours: int
) -> list[Edge]:
    """Pairs (i, j), i < j, of posed images that overlap: those that were aligned, and those that depth shows.

    Args:
        cameras: in raw pixels.
        depths: of every image.
        aligned: pairs (i, j), i < j, that are kept in any case.
        max_neighbours: each image keeps so many of those it overlaps most, beside its aligned pairs.
    """
    share = _overlaps(cameras, depths)
    share = np.maximum(share, share.T)
    np.fill_diagonal(share, 0.0)
    ranked = np.argsort(-share, axis=1, kind="stable")[:, :max_neighbours]
    chosen = np.zeros(share.shape, dtype=bool)
    np.put_along_axis(chosen, ranked, np.take_along_axis(share, ranked, axis=1) >= _MIN_SHARE_OF_PIXELS, axis=1)
    for i, j in aligned:
        chosen[i, j] = True
    chosen &= cameras.posed[:, None] & cameras.posed
    return [(int(i), int(j)) for i, j in np.argwhere(np.triu(chosen | chosen.T, 1))]


def _overlaps(cameras: PosedCameras, depths: AlignedDepths) -> Float64[np.ndarray, "n n"]:
    """Share of the pixels of image i (rows) that image j (columns) sees at the same depth."""
    posed = np.flatnonzero(cameras.posed).tolist()
    share = np.zeros((len(cameras.posed), len(cameras.posed)))
    for i in posed:
        points = _lattice_points(cameras, depths, i)
        cam_from_i = compose(cameras.cam_from_world, invert(cameras.cam_from_world[i]))
        for j in posed:
            moved = apply(cam_from_i[j], points)
            moved = moved[moved[:, 2] > 0]
            matrix = cameras.matrices[j]
            xy = moved[:, :2] / moved[:, 2:] * matrix[(0, 1), (0, 1)] + matrix[:2, 2]
            seen = depths.covers(j, xy)
            depth = depths.at(j, xy[seen])
            same = np.abs(moved[seen, 2] - depth) <= _SAME_SURFACE_OF_DEPTH * depth
            share[i, j] = same.sum() / _SAMPLES**2
    return share


def _lattice_points(cameras: PosedCameras, depths: AlignedDepths, index: int) -> Float64[np.ndarray, "p 3"]:
    """Points of a lattice of an image's pixels with known depth, in its camera's frame."""
    sides = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    xy = np.stack(np.meshgrid(sides, sides), axis=-1).reshape(-1, 2) * cameras.sizes[index]
    depth = np.where(depths.covers(index, xy), depths.at(index, xy), 0.0)
    rays = np.column_stack([cameras.on_plane(index, xy), np.ones(len(xy))])
    usable = (depth > 0) & np.isfinite(rays).all(axis=1)
    points: Float64[np.ndarray, "p 3"] = rays[usable] * depth[usable, None]
    return points
