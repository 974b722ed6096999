"""Cameras on their way from aligned to refined: a model, the same as a scene, and the tracks it was adjusted on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64

from dust3r_sfm.colmap.camera_models import scene_of, straighten_with
from dust3r_sfm.colmap.model import NO_TRACKS, reconstruction_from_scene
from dust3r_sfm.geometry.transforms import rotation_angle
from dust3r_sfm.options import TrackOptions
from dust3r_sfm.refinement.adjust import Freedom, adjusted
from dust3r_sfm.system._pycolmap import Camera, Reconstruction
from dust3r_sfm.tracks.build import build_tracks, network_from_raw
from dust3r_sfm.types import Matches, Scene, Tracks

_MIN_ANGLE = 1.5
_MAX_ROUNDS = 8
_SETTLED_DEGREES = 0.01
_SETTLED_FOCAL = 1e-3
"""Rotations and focal lengths that change less from round to round have settled."""

_FEW_POINTS, _ALL_POINTS = 3_000, 40_000
"""Points, long tracks first, that find the lens and the basin; and those of the last adjustment…"""

_FEW_PER_IMAGE, _ALL_PER_IMAGE = 100, 500
"""…or so many per image, if that is more."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Attributes:
    model: cameras and poses in raw pixels.
    scene: the same without distortion on the network grid, with the aligned depths.
    tracks: the points and observations of the last adjustment.
    trust_depths: whether points that contradict the aligned depth are wrong; False where the alignment is rough.
    """

    model: Reconstruction
    scene: Scene
    tracks: Tracks = NO_TRACKS
    trust_depths: bool = True

    @staticmethod
    def of(scene: Scene, trust_depths: bool) -> "Estimate":
        """Start from the alignment."""
        return Estimate(model=reconstruction_from_scene(scene, NO_TRACKS), scene=scene, trust_depths=trust_depths)

    def camera(self, index: int) -> Camera:
        """The camera of an image, by its index."""
        return self.model.cameras[self.model.images[index + 1].camera_id]

    def adjusted(self, matches: Sequence[Matches], limit: float, freedom: Freedom, *, last: bool = False) -> "Estimate":
        """Triangulate matches that agree within a limit (network pixels), and adjust cameras and points to them.

        The last adjustment takes more points.
        """
        return self.adjusted_to(self.triangulated(matches, limit, last=last), freedom, last=last)

    def triangulated(self, matches: Sequence[Matches], limit: float, *, last: bool = False) -> Tracks:
        """Give the tracks of matches that agree with the cameras within a limit (network pixels)."""
        count = len(self.scene.names)
        max_points = max(_ALL_POINTS, _ALL_PER_IMAGE * count) if last else max(_FEW_POINTS, _FEW_PER_IMAGE * count)
        options = TrackOptions(max_reprojection_error=limit, min_triangulation_angle=_MIN_ANGLE, max_points=max_points)
        scene = self.scene if self.trust_depths else without_depths(self.scene)
        return build_tracks(scene, matches, options, None, straighten_with(self.model))

    def adjusted_to(self, tracks: Tracks, freedom: Freedom, *, last: bool = False) -> "Estimate":
        """Adjust cameras and points to tracks."""
        model, tracks = adjusted(self.model, tracks, freedom, last=last)
        return replace(self, model=model, scene=scene_of(self.scene, model), tracks=tracks)

    def settled(self, matches: Sequence[Matches], limit: float, freedom: Freedom) -> "Estimate":
        """Repeat until cameras stay: better cameras admit more matches, which make better cameras."""
        estimate = self
        for _ in range(_MAX_ROUNDS):
            before, estimate = estimate, estimate.adjusted(matches, limit, freedom)
            if estimate.is_near(before):
                break
        return estimate

    def is_near(self, other: "Estimate") -> bool:
        """Whether relative rotations and focal lengths are the same but for what does not matter."""
        ours, theirs = self.scene.cam_from_world[:, :, :3], other.scene.cam_from_world[:, :, :3]
        turn = np.swapaxes(theirs, -1, -2) @ ours
        turn = np.swapaxes(turn[:1], -1, -2) @ turn
        ratio = self.scene.intrinsics[:, 0, 0] / other.scene.intrinsics[:, 0, 0]
        placed = self.scene.registered
        return bool(
            rotation_angle(turn)[placed].max(initial=0.0) < _SETTLED_DEGREES
            and np.abs(np.log(ratio[placed])).max(initial=0.0) < _SETTLED_FOCAL
        )

    def rescaled(self) -> Scene:
        """The scene with each image's depths multiplied by what makes them fit the points that it observes."""
        return replace(self.scene, depths=rescaled_depths(self.scene, self.tracks))

    def depth_errors(self) -> Float64[np.ndarray, " r"]:
        """How far the scene's depths are from the points of the last adjustment, as logarithms of their ratios."""
        images = np.unique(self.tracks.image_of).tolist()
        ratios = np.concatenate([np.zeros(1), *(_log_ratios(self.scene, self.tracks, index) for index in images)])
        errors: Float64[np.ndarray, " r"] = np.abs(ratios)
        return errors


def rescaled_depths(scene: Scene, tracks: Tracks) -> tuple[Float32[np.ndarray, "_ _"], ...]:
    """Depths of each image times the median ratio of its points' depths to them."""
    depths = list(scene.depths)
    for index in np.unique(tracks.image_of).tolist():
        ratios = _log_ratios(scene, tracks, index)
        if len(ratios):
            depths[index] = (depths[index] * np.exp(np.median(ratios))).astype(np.float32)
    return tuple(depths)


def _log_ratios(scene: Scene, tracks: Tracks, index: int) -> Float64[np.ndarray, " r"]:
    """Logarithms of an image's triangulated depths over its aligned ones, where both are known."""
    seen = tracks.image_of == index
    known = depths_at(scene, index, tracks.xy[seen])
    pose = scene.cam_from_world[index]
    z = tracks.xyz[tracks.track_of[seen]] @ pose[2, :3] + pose[2, 3]
    usable = (known > 0) & (z > 0)
    ratios: Float64[np.ndarray, " r"] = np.log(z[usable] / known[usable])
    return ratios


def depths_at(scene: Scene, index: int, xy: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, " k"]:
    """Aligned depth at raw pixels of an image, 0 where unknown."""
    depth = scene.depths[index]
    column, row = network_from_raw(scene, np.full(len(xy), index), xy).astype(np.int64).T
    row, column = np.clip(row, 0, depth.shape[0] - 1), np.clip(column, 0, depth.shape[1] - 1)
    values: Float64[np.ndarray, " k"] = depth[row, column].astype(np.float64)
    return values


def without_depths(scene: Scene) -> Scene:
    """The scene as if no depth were known."""
    return replace(scene, depths=tuple(np.zeros_like(depth) for depth in scene.depths))
