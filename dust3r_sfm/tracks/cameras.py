"""The cameras that tracks are triangulated with: raw pixels without distortion, and poses of the raw cameras.

`posed_cameras` is the border between the network grid, on which a scene is aligned, and raw pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.geometry.grid import raw_from_upright, raw_intrinsics
from dust3r_sfm.geometry.transforms import compose, invert
from dust3r_sfm.types import Scene

Undistort = Callable[[int, Float64[np.ndarray, "_ 2"]], Float64[np.ndarray, "_ 2"]]
"""Takes lens distortion out of raw pixels of an image, by its index; NaN where the lens has no ray for a pixel."""


def no_distortion(index: int, xy: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, "k 2"]:
    """Raw pixels as they are: the `Undistort` of pinhole cameras."""
    return xy


@dataclass(frozen=True, kw_only=True)
class PosedCameras:
    """The camera of every image, in raw pixels (EXIF orientation not applied).

    Attributes:
        sizes: (width, height) of the files' pixel grids (n, 2).
        matrices: pinhole matrices of undistorted raw pixels (n, 3, 3).
        cam_from_world: rigid transforms into the raw camera frames (n, 3, 4).
        posed: images whose pose is known; camera and pose of the others are meaningless (n,).
        undistort: takes raw pixels of an image to those of its pinhole matrix.
    """

    sizes: Int64[np.ndarray, "n 2"]
    matrices: Float64[np.ndarray, "n 3 3"]
    cam_from_world: Float64[np.ndarray, "n 3 4"]
    posed: Bool[np.ndarray, " n"]
    undistort: Undistort = no_distortion

    def on_plane(self, index: int, xy: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, "k 2"]:
        """Undistorted coordinates at z = 1 of raw pixels of an image."""
        matrix = self.matrices[index]
        plane: Float64[np.ndarray, "k 2"] = (self.undistort(index, xy) - matrix[:2, 2]) / matrix[(0, 1), (0, 1)]
        return plane

    def relative(self, i: int, j: int) -> Float64[np.ndarray, "3 4"]:
        """The transform camj_from_cami."""
        return compose(self.cam_from_world[j], invert(self.cam_from_world[i]))


def posed_cameras(scene: Scene) -> PosedCameras:
    """The registered cameras of a scene in raw pixels; a scene knows no distortion."""
    return PosedCameras(
        sizes=np.array([view.size for view in scene.views], np.int64).reshape(-1, 2),
        matrices=raw_intrinsics(scene.network_from_image, scene.intrinsics),
        cam_from_world=raw_from_upright(scene.network_from_image) @ scene.cam_from_world,
        posed=scene.registered,
    )
