"""All photographs together: cameras and depths in one frame, and the points that several of them see."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from dust3r_sfm.types.photographs import View
from dust3r_sfm.types.priors import Priors


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All images in one frame, on the network grid; `tracks.cameras` and `tracks.depths` lead on to original pixels.

    Attributes:
        image_root: folder that the names are relative to.
        views: the images, with what the user knew of them; what is known of a registered one is in this scene exactly.
        intrinsics: pinhole matrices in network pixels (n, 3, 3).
        cam_from_world: rigid transforms into the upright camera frames (n, 3, 4).
        registered: False where an image could not be placed; its pose is then meaningless (n,).
        depths: per image, z of each network pixel in its camera's frame, world units; 0 where unknown.
        confidences: per image, confidence of each depth, at least 1.
        edges: directed pairs that were aligned (e, 2).
        world_from_edge: similarity from an edge's pointmap frame to the world, scale times rotation (e, 4, 4).
        edge_weights: final robust weight of each edge, 0 (rejected) to 1 (e,).
        edge_residuals: median point distance over depth of each edge after alignment (e,).
        edge_cycles: optional, by how much the pairwise estimates of each edge's pair miss those of the triangles that
            it is in, in the median: rotation and direction of the baseline in degrees, log of its length (e, 3); NaN
            where there is no triangle.
        covariances: optional covariance of each camera's (rotation vector, centre) about the world's axes (n, 6, 6).
        warnings: sentences for the user (images left out, weak links).
        priors: what is measured in the world that the scene is in; None in a frame of its own or of known poses.
    """

    image_root: Path
    views: tuple[View, ...]
    intrinsics: Float64[np.ndarray, "n 3 3"]
    cam_from_world: Float64[np.ndarray, "n 3 4"]
    registered: Bool[np.ndarray, " n"]
    depths: tuple[Float32[np.ndarray, "_ _"], ...]
    confidences: tuple[Float32[np.ndarray, "_ _"], ...]
    edges: Int64[np.ndarray, "e 2"]
    world_from_edge: Float64[np.ndarray, "e 4 4"]
    edge_weights: Float64[np.ndarray, " e"]
    edge_residuals: Float64[np.ndarray, " e"]
    edge_cycles: Float64[np.ndarray, "e 3"] | None = None
    covariances: Float64[np.ndarray, "n 6 6"] | None = None
    warnings: tuple[str, ...] = ()
    priors: Priors | None = None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the images, in order."""
        return tuple(view.name for view in self.views)

    @cached_property
    def network_sizes(self) -> Int64[np.ndarray, "n 2"]:
        """(width, height) of the network grids."""
        return np.array([view.network_size for view in self.views], np.int64).reshape(-1, 2)

    @cached_property
    def network_from_image(self) -> Float64[np.ndarray, "n 3 3"]:
        """Maps from raw original to network pixels."""
        return np.array([view.network_from_image for view in self.views], np.float64).reshape(-1, 3, 3)

    @cached_property
    def known_cameras(self) -> Bool[np.ndarray, " n"]:
        """Images whose camera the user gave, so that nothing may change it."""
        return np.array([view.known_camera is not None for view in self.views], bool)

    @cached_property
    def known_poses(self) -> Bool[np.ndarray, " n"]:
        """Registered images whose `cam_from_world` is what the user gave, so that nothing may change it."""
        given = np.array([view.known_cam_from_world is not None for view in self.views], bool)
        return np.asarray(given & self.registered)


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """3-D points and where they are seen; flat tables, no Python object per point.

    Attributes:
        xyz: points in the world (t, 3).
        rgb: colours (t, 3).
        track_of: track index of each observation (o,).
        image_of: image index of each observation (o,).
        xy: position of each observation in raw original pixels, COLMAP origin (o, 2).
    """

    xyz: Float64[np.ndarray, "t 3"]
    rgb: UInt8[np.ndarray, "t 3"]
    track_of: Int64[np.ndarray, " o"]
    image_of: Int64[np.ndarray, " o"]
    xy: Float64[np.ndarray, "o 2"]

    def still_tracked(self, observations: Bool[np.ndarray, " o"]) -> Bool[np.ndarray, " o"]:
        """Those of some observations whose point has two of them at least."""
        lengths = np.bincount(self.track_of[observations], minlength=len(self.xyz))
        return np.asarray(observations & (lengths >= 2)[self.track_of])

    def take(self, observations: Bool[np.ndarray, " o"]) -> "Tracks":
        """Some of the observations, and the points that still have two of them, numbered anew in their order."""
        kept = self.still_tracked(observations)
        is_left = np.bincount(self.track_of[kept], minlength=len(self.xyz)) > 0
        return Tracks(
            xyz=self.xyz[is_left],
            rgb=self.rgb[is_left],
            track_of=(np.cumsum(is_left) - 1)[self.track_of[kept]],
            image_of=self.image_of[kept],
            xy=self.xy[kept],
        )
