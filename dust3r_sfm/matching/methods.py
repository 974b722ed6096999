"""Every method's relative pose of one pair that was predicted in both directions, and which of them to believe."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.geometry.epipolar import fundamental_matrix, sampson_error
from dust3r_sfm.geometry.grid import raw_from_upright
from dust3r_sfm.geometry.transforms import invert, rotation_angle
from dust3r_sfm.matching.relative import pose_from_both_directions, pose_from_matches, pose_from_pnp
from dust3r_sfm.types import Matches, PairPrediction, RelativePose, View

Method = Literal["procrustes", "epipolar", "pnp"]

_MAX_ERROR_NETWORK_PX = 2.0
"""Largest distance of a match from the epipolar geometry of a pose that it agrees with, network pixels. Chosen by
hand."""


@dataclass(frozen=True, kw_only=True)
class MethodPose:
    """The pose that one method found.

    Attributes:
        method: procrustes (the pointmaps of both directions, fitted by a similarity), epipolar (the essential matrix
            of the matches) or pnp (pixels of the second photograph against their points in the first camera's frame).
        cam2_from_cam1: rigid transform (3, 4) between the cameras of the files' raw pixels (EXIF orientation not
            applied). The translation has length 1 by the epipolar method, by the others the unit of the pointmaps.
        num_inliers, num_correspondences: of the points, pixels or matches that the method fits, those that agree.
    """

    method: Method
    cam2_from_cam1: Float64[np.ndarray, "3 4"]
    num_inliers: int
    num_correspondences: int

    @property
    def cam1_from_cam2(self) -> Float64[np.ndarray, "3 4"]:
        """The way back."""
        return invert(self.cam2_from_cam1)

    def __str__(self) -> str:
        """Rotation, direction of the baseline and agreement in one line."""
        angle = float(rotation_angle(self.cam2_from_cam1[:, :3]))
        x, y, z = direction(self.cam2_from_cam1).tolist()
        return (
            f"{angle:.2f}° rotation, translation along ({x:.3f}, {y:.3f}, {z:.3f}), "
            f"{self.num_inliers} of {self.num_correspondences} agree"
        )


@dataclass(frozen=True, kw_only=True)
class TwoViews:
    """Two photographs, the predictions of both directions, and their cameras.

    Attributes:
        view1, view2: the photographs.
        forward, backward: predictions of the pairs (1, 2) and (2, 1).
        matrices: pinhole matrices of both, network pixels.
    """

    view1: View
    view2: View
    forward: PairPrediction
    backward: PairPrediction
    matrices: tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, "3 3"]]

    def poses(self, matches: Matches, seed: int = 0) -> dict[Method, RelativePose]:
        """What each method finds, between the upright cameras; the one to believe first, those without result left out.

        Args:
            matches: of the pair, in raw original pixels; the epipolar method is for them.
            seed: of the sampling.
        """
        by_method: dict[Method, RelativePose | None] = {
            "pnp": pose_from_pnp(0, 1, self.forward, float(self.matrices[1][0, 0]), seed=seed),
            "procrustes": pose_from_both_directions(0, 1, self.forward, self.backward, seed),
            "epipolar": pose_from_matches(self._in_network(matches), *self.matrices, _MAX_ERROR_NETWORK_PX, seed),
        }
        order = sorted(by_method, key=lambda method: method != self.preference[0])
        return {method: pose for method in order if (pose := by_method[method]) is not None}

    @property
    def preference(self) -> tuple[Method, str]:
        """Which method to believe for what the predictor gives, and why.

        Without descriptors Procrustes is as good as PnP for the embedded predictor, whose two directions share one
        pose, but falls behind where each direction errs by itself in depth (Wang et al. 2024, section 3.3).
        """
        if self.forward.descriptors1 is not None:
            return "epipolar", "descriptors were trained to match, which pointmaps were not."
        return "pnp", "errors of depth along the rays of the pixels do not move it."

    def agreeing(self, matches: Matches, pose: RelativePose) -> Bool[np.ndarray, " m"]:
        """Which matches, in raw original pixels, agree with a pose between the upright cameras."""
        seen = self._in_network(matches)
        fundamental = fundamental_matrix(pose.cam2_from_cam1, *self.matrices)
        agreeing: Bool[np.ndarray, " m"] = sampson_error(fundamental, seen.xy1, seen.xy2) <= _MAX_ERROR_NETWORK_PX
        return agreeing

    def of_raw_cameras(self, poses: Mapping[Method, RelativePose]) -> tuple[MethodPose, ...]:
        """The poses between the cameras of the files' raw pixels, which EXIF does not turn."""
        turn1, turn2 = (raw_from_upright(view.network_from_image) for view in (self.view1, self.view2))
        return tuple(
            MethodPose(
                method=method,
                cam2_from_cam1=turn2 @ np.hstack([pose.cam2_from_cam1[:, :3] @ turn1.T, pose.cam2_from_cam1[:, 3:]]),
                num_inliers=pose.num_inliers,
                num_correspondences=round(pose.num_inliers / pose.score),
            )
            for method, pose in poses.items()
        )

    def _in_network(self, matches: Matches) -> Matches:
        xy1, xy2 = (
            xy @ view.network_from_image[:2, :2].T + view.network_from_image[:2, 2]
            for xy, view in ((matches.xy1, self.view1), (matches.xy2, self.view2))
        )
        return replace(matches, xy1=xy1, xy2=xy2)


def direction(transform: Float64[np.ndarray, "3 4"]) -> Float64[np.ndarray, " 3"]:
    """The translation of a pose with length 1."""
    direction: Float64[np.ndarray, " 3"] = transform[:, 3] / max(float(np.linalg.norm(transform[:, 3])), 1e-12)
    return direction
