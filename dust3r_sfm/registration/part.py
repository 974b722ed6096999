"""A part: photographs that one model holds, and what is known of their pixels."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.geometry.transforms import apply, invert
from dust3r_sfm.refinement.refine import Refinement
from dust3r_sfm.refinement.state import RefinementState, rescaled_depths
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.tracks.keypoints import keypoint_rows
from dust3r_sfm.types import Matches, Scene, Tracks

_MAX_ERROR_NETWORK_PX = 1.5
"""Reprojection error up to which an observation is of its point; that of the refinement's last adjustment."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Photographs that one model holds.

    Attributes:
        scene: of the alignment; all its images, of which the part holds some.
        refinement: cameras, depths and keypoint matches.
        found: matches of the pointmaps.
        added: images that have joined it or moved since it was refined.
        moved: those of them that stood at another place.
    """

    scene: Scene
    refinement: Refinement
    found: Sequence[Matches]
    added: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()

    @cached_property
    def state(self) -> RefinementState:
        """Its cameras as the refinement moves them."""
        refinement = self.refinement
        return RefinementState(model=refinement.model, depths=refinement.depths, trust_depths=refinement.trust_depths)

    @cached_property
    def images(self) -> list[int]:
        """The images that it holds."""
        posed: list[int] = np.flatnonzero(self.state.cameras.posed).tolist()
        return posed

    @cached_property
    def points(self) -> "KnownPoints":
        """What is known of its pixels."""
        return KnownPoints.of(self.state, self.refinement.matches)

    def refined(self, state: RefinementState, matches: Sequence[Matches], added: Collection[int] = ()) -> "Part":
        """The part with other cameras and matches."""
        refinement = replace(self.refinement, model=state.model, matches=matches)
        return replace(self, refinement=refinement, added=(*self.added, *added))


@dataclass(frozen=True, kw_only=True)
class KnownPoints:
    """Points in the world of the pixels of posed images: of keypoints the triangulated ones, else by aligned depth.

    Attributes:
        state: the cameras.
        depths: of each image, scaled to its triangulated points.
        tracks: the triangulated keypoints.
    """

    state: RefinementState
    depths: AlignedDepths
    tracks: Tracks

    @staticmethod
    def of(state: RefinementState, matches: Sequence[Matches]) -> "KnownPoints":
        """Triangulate the matches that agree with the cameras."""
        tracks = state.triangulated(matches, _MAX_ERROR_NETWORK_PX, last=True)
        return KnownPoints(state=state, depths=rescaled_depths(state.cameras, state.depths, tracks), tracks=tracks)

    def tracks_at(self, index: int, xy: Float64[np.ndarray, "m 2"]) -> Int64[np.ndarray, " m"]:
        """The track of each raw pixel of an image, -1 where it is no triangulated keypoint."""
        of_image = np.flatnonzero(self.tracks.image_of == index)
        rows = keypoint_rows(self.tracks.xy[of_image], xy)
        if len(of_image) == 0:
            return rows
        return np.where(rows >= 0, self.tracks.track_of[of_image[rows]], -1)

    def at(
        self, index: int, xy: Float64[np.ndarray, "m 2"]
    ) -> tuple[Float64[np.ndarray, "m 3"], Bool[np.ndarray, " m"]]:
        """Points of raw pixels of an image in the world, NaN where none is known; and whether a track holds them."""
        cameras, track = self.state.cameras, self.tracks_at(index, xy)
        depth = np.where(self.depths.covers(index, xy), self.depths.at(index, xy), 0.0)
        rays = np.column_stack([cameras.on_plane(index, xy), np.ones(len(xy))])
        points = apply(invert(cameras.cam_from_world[index]), rays * np.where(depth > 0, depth, np.nan)[:, None])
        points[track >= 0] = self.tracks.xyz[track[track >= 0]]
        return points, track >= 0
