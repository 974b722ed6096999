"""Cameras on their way from aligned to refined."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.colmap.camera_models import cameras_of
from dust3r_sfm.colmap.model import NO_TRACKS, reconstruction_from_scene
from dust3r_sfm.geometry.transforms import rotation_angle
from dust3r_sfm.options import TrackOptions
from dust3r_sfm.refinement.adjust import AdjustmentMask, adjusted
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.tracks.build import triangulate_matches
from dust3r_sfm.tracks.cameras import PosedCameras
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.types import Matches, Scene, Tracks

_MIN_ANGLE_DEGREES = 1.5
"""Smallest triangulation angle of a point; COLMAP's default."""

_MAX_ROUNDS = 8
_CONVERGED_DEGREES, _CONVERGED_LOG_FOCAL = 0.01, 1e-3
"""Rotations and focal lengths that change less from round to round have converged, at most after 8; chosen by hand."""

_FEW_POINTS, _ALL_POINTS = 3_000, 40_000
"""Points, long tracks first, that find the camera model and the basin, and those of the last adjustment; chosen by
hand."""

_FEW_PER_IMAGE, _ALL_PER_IMAGE = 100, 500
"""So many per image instead, if that is more; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class RefinementState:
    """A model of the cameras in raw pixels, the tracks that it was last adjusted to, and the depths of the alignment.

    Attributes:
        model: cameras and poses; image ids are those of `colmap.model.id_of_image`.
        depths: of the alignment, for every image of the scene.
        tracks: points and observations of the last adjustment.
        trust_depths: whether points that contradict the aligned depth are wrong; False where the alignment is coarse.
    """

    model: Reconstruction
    depths: AlignedDepths
    tracks: Tracks = NO_TRACKS
    trust_depths: bool = True

    @staticmethod
    def of(scene: Scene, trust_depths: bool) -> "RefinementState":
        """Start from the alignment."""
        model = reconstruction_from_scene(scene, NO_TRACKS)
        return RefinementState(model=model, depths=AlignedDepths.of(scene), trust_depths=trust_depths)

    @cached_property
    def cameras(self) -> PosedCameras:
        """The model's cameras as tracks need them."""
        return cameras_of(self.model, len(self.depths.depths))

    def adjusted(
        self, matches: Sequence[Matches], limit: float, mask: AdjustmentMask, *, last: bool = False
    ) -> "RefinementState":
        """Triangulate matches that agree within a limit (network pixels), and adjust cameras and points to them.

        The last adjustment takes more points.
        """
        return self.adjusted_to(self.triangulated(matches, limit, last=last), mask, last=last)

    def triangulated(self, matches: Sequence[Matches], limit: float, *, last: bool = False) -> Tracks:
        """Give the tracks of matches that agree with the cameras within a limit (network pixels)."""
        count = len(self.cameras.posed)
        max_points = max(_ALL_POINTS, _ALL_PER_IMAGE * count) if last else max(_FEW_POINTS, _FEW_PER_IMAGE * count)
        options = TrackOptions(
            max_reprojection_error=limit, min_triangulation_angle=_MIN_ANGLE_DEGREES, max_points=max_points
        )
        depths = self.depths if self.trust_depths else self.depths.forgotten()
        return triangulate_matches(self.cameras, depths, matches, options)

    def adjusted_to(self, tracks: Tracks, mask: AdjustmentMask, *, last: bool = False) -> "RefinementState":
        """Adjust cameras and points to tracks."""
        model, tracks = adjusted(self.model, tracks, mask, last=last)
        return replace(self, model=model, tracks=tracks)

    def until_converged(self, matches: Sequence[Matches], limit: float, mask: AdjustmentMask) -> "RefinementState":
        """Adjust until cameras stay: better cameras admit more matches, which make better cameras."""
        state = self
        for _ in range(_MAX_ROUNDS):
            before, state = state, state.adjusted(matches, limit, mask)
            if state.is_near(before):
                break
        return state

    def is_near(self, other: "RefinementState") -> bool:
        """Whether relative rotations and focal lengths are the same but for what does not matter."""
        posed = self.cameras.posed
        ours, theirs = (state.cameras.cam_from_world[posed, :, :3] for state in (self, other))
        turn = np.swapaxes(theirs, -1, -2) @ ours
        turn = np.swapaxes(turn[:1], -1, -2) @ turn
        ratio = self.cameras.matrices[posed, 0, 0] / other.cameras.matrices[posed, 0, 0]
        return bool(
            rotation_angle(turn).max(initial=0.0) < _CONVERGED_DEGREES
            and np.abs(np.log(ratio)).max(initial=0.0) < _CONVERGED_LOG_FOCAL
        )

    def rescaled(self) -> AlignedDepths:
        """Each image's depths multiplied by what makes them fit the points that it observes."""
        return rescaled_depths(self.cameras, self.depths, self.tracks)


def rescaled_depths(cameras: PosedCameras, depths: AlignedDepths, tracks: Tracks) -> AlignedDepths:
    """Depths of each image times the median ratio of its points' depths to them."""
    scaled = list(depths.depths)
    for index in np.unique(tracks.image_of).tolist():
        ratios = _log_ratios(cameras, depths, tracks, index)
        if len(ratios):
            scaled[index] = (scaled[index] * np.exp(np.median(ratios))).astype(np.float32)
    return replace(depths, depths=tuple(scaled))


def depth_errors(cameras: PosedCameras, depths: AlignedDepths, tracks: Tracks) -> Float64[np.ndarray, " r"]:
    """How far depths are from points, as logarithms of their ratios; a single 0 where there are none."""
    images = np.unique(tracks.image_of).tolist()
    ratios = np.concatenate([np.zeros(1), *(_log_ratios(cameras, depths, tracks, index) for index in images)])
    errors: Float64[np.ndarray, " r"] = np.abs(ratios)
    return errors


def _log_ratios(cameras: PosedCameras, depths: AlignedDepths, tracks: Tracks, index: int) -> Float64[np.ndarray, " r"]:
    """Logarithms of an image's triangulated depths over its aligned ones, where both are known."""
    seen = tracks.image_of == index
    known = depths.at(index, tracks.xy[seen])
    pose = cameras.cam_from_world[index]
    z = tracks.xyz[tracks.track_of[seen]] @ pose[2, :3] + pose[2, 3]
    usable = (known > 0) & (z > 0)
    ratios: Float64[np.ndarray, " r"] = np.log(z[usable] / known[usable])
    return ratios
