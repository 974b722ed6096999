"""Depths of every pixel from the few that triangulated points have: a guide to matching where nothing else is known."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Float64
from scipy.spatial import KDTree

from dust3r_sfm.geometry.grid import network_from_raw
from dust3r_sfm.tracks.cameras import PosedCameras
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.types import Tracks

_NUM_NEAREST = 4
"""Points that a pixel takes its depth from; chosen by hand."""

_CELL_NETWORK_PX = 4
"""Side of the squares that share a depth; chosen by hand."""

_MIN_POINTS = 10
"""Images that see fewer points have no depth; chosen by hand."""


def interpolated_depths(cameras: PosedCameras, depths: AlignedDepths, tracks: Tracks) -> AlignedDepths:
    """Give each pixel of the network grids the mean inverse depth of the nearest points, the near ones counting more.

    Args:
        cameras: in raw pixels.
        depths: the grids; what they hold is replaced.
        tracks: triangulated points and their observations.
    """
    filled = tuple(_interpolated(cameras, depths, tracks, index) for index in range(len(depths.depths)))
    return replace(depths, depths=filled)


def _interpolated(
    cameras: PosedCameras, depths: AlignedDepths, tracks: Tracks, index: int
) -> Float32[np.ndarray, "h w"]:
    height, width = depths.depths[index].shape
    seen = tracks.image_of == index
    pose = cameras.cam_from_world[index]
    z = tracks.xyz[tracks.track_of[seen]] @ pose[2, :3] + pose[2, 3]
    front = z > 0
    if front.sum() < _MIN_POINTS:
        return np.zeros((height, width), np.float32)
    places = network_from_raw(depths.network_from_image[index], tracks.xy[seen][front])
    rows, columns = (np.arange(0, side, _CELL_NETWORK_PX) + _CELL_NETWORK_PX / 2 for side in (height, width))
    cells = np.stack(np.meshgrid(columns, rows), axis=-1)
    inverse = _mean_of_nearest(places, 1.0 / z[front], cells.reshape(-1, 2)).reshape(cells.shape[:2])
    whole = np.repeat(np.repeat(inverse, _CELL_NETWORK_PX, axis=0), _CELL_NETWORK_PX, axis=1)
    return (1.0 / whole[:height, :width]).astype(np.float32)


def _mean_of_nearest(
    places: Float64[np.ndarray, "k 2"], values: Float64[np.ndarray, " k"], wanted: Float64[np.ndarray, "w 2"]
) -> Float64[np.ndarray, " w"]:
    distance, nearest = KDTree(places).query(wanted, _NUM_NEAREST)
    weight = 1.0 / (distance + 1.0)
    mean: Float64[np.ndarray, " w"] = np.sum(weight * values[nearest], axis=1) / weight.sum(axis=1)
    return mean
