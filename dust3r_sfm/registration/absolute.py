"""The pose of a photograph among refined ones, from 2-D–3-D correspondences, and whether to believe it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.geometry.transforms import apply
from dust3r_sfm.localization.pose import FocalState, PoseEstimate, estimate_pose, pose_confidence
from dust3r_sfm.registration.link import Link
from dust3r_sfm.registration.part import KnownPoints
from dust3r_sfm.tracks.cameras import PosedCameras
from dust3r_sfm.types import Matches, Size

_MAX_ERROR_NETWORK_PX = 4.0
"""Largest reprojection error of an inlier: aligned depths are good to a few pixels of their grid; chosen by hand."""

_MIN_INLIERS, _MIN_INLIERS_OF_ONE = 15, 30
"""Keypoints that must agree on a pose where two images of the model speak for it, and where one alone does: one may be
the twin of what the photograph shows; chosen by hand."""

_MIN_INLIERS_OF_PARTNER = 6
_MIN_SHARE_OF_MATCHES = 0.25
"""An image speaks for a pose with so many inliers, and such a share of its matches (COLMAP's least share of inliers of
an absolute pose); the first chosen by hand."""

_CLEAR_MATCHES = 40
"""Matches of a pair, under one epipolar geometry, that are more than chance: unrelated pictures of 10,000 keypoints
have up to 27; measured: verified pairs of the seven photographs of nle_tower that do not overlap, 2026-11-28."""

_MAX_AGAINST = 0.5
"""Matches of clear pairs that contradict a pose, over those that speak for it; chosen by hand."""

_MIN_CONFIDENCE = 0.5
"""Least confidence in a pose by the spread of its inliers over the picture (see `pose_confidence`); chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Correspondences:
    """Pixels of one photograph, and the points in the world that their matches in others show.

    Attributes:
        xy: raw pixels (m, 2).
        xyz: points in the world (m, 3).
        on_track: whether a point is triangulated, not by depth (m,).
        partner_of: position of the pair that each comes from (m,).
        pairs: matches of the photograph, which is their first image, with its partners.
    """

    xy: Float64[np.ndarray, "m 2"]
    xyz: Float64[np.ndarray, "m 3"]
    on_track: Bool[np.ndarray, " m"]
    partner_of: Int64[np.ndarray, " m"]
    pairs: Sequence[Matches]

    @staticmethod
    def of(points: KnownPoints, pairs: Sequence[Matches]) -> "Correspondences":
        """Look up the points of the second image of each pair."""
        lifted = [points.at(pair.image2, pair.xy2) for pair in pairs]
        xy = np.concatenate([np.zeros((0, 2)), *(pair.xy1 for pair in pairs)])
        xyz = np.concatenate([np.zeros((0, 3)), *(xyz for xyz, _ in lifted)])
        on_track = np.concatenate([np.zeros(0, bool), *(is_on for _, is_on in lifted)])
        partner_of = np.repeat(np.arange(len(pairs)), [len(pair.xy1) for pair in pairs])
        known = np.isfinite(xyz).all(axis=1)
        return Correspondences(
            xy=xy[known], xyz=xyz[known], on_track=on_track[known], partner_of=partner_of[known], pairs=pairs
        )

    def within(self, cameras: PosedCameras, image: int, raw_per_network: float) -> Bool[np.ndarray, " m"]:
        """Which of them agree with a pose that the photograph has already."""
        seen = apply(cameras.cam_from_world[image], self.xyz)
        front, matrix = seen[:, 2] > 0, cameras.matrices[image]
        plane = seen[:, :2] / np.where(front, seen[:, 2], 1.0)[:, None] * matrix[(0, 1), (0, 1)] + matrix[:2, 2]
        errors = np.linalg.norm(plane - cameras.undistort(image, self.xy), axis=1)
        return np.asarray(front & (errors <= _MAX_ERROR_NETWORK_PX * raw_per_network))


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What the matches of a photograph say about its pose.

    Attributes:
        image: the photograph.
        estimate: pose and camera, or None where six matches agree on none.
        supporting: pairs that speak for it.
        num_inliers: keypoints of these that agree.
        link: what is missing; None where the pose is to be believed.
    """

    image: int
    estimate: PoseEstimate | None
    supporting: Sequence[Matches]
    num_inliers: int
    link: Link | None


def attempt(
    image: int, found: Correspondences, camera: Any, focal: FocalState, raw_per_network: float, seed: int
) -> Attempt:
    """Estimate where a photograph was taken, and judge it.

    Args:
        image: index of the photograph.
        found: what its matches show.
        camera: `pycolmap.Camera` to start from.
        focal: whether its focal length is known.
        raw_per_network: raw pixels along a network pixel of the photograph.
        seed: of the sampling.
    """
    estimate = estimate_pose(found.xy, found.xyz, camera, focal, _MAX_ERROR_NETWORK_PX * raw_per_network, seed)
    if estimate is None:
        return Attempt(image=image, estimate=None, supporting=(), num_inliers=0, link=_missing(image, found, None))
    return judged(image, found, estimate, (camera.width, camera.height))


def judged(image: int, found: Correspondences, estimate: PoseEstimate, size: Size) -> Attempt:
    """Whether to believe a pose: by the number and spread of what agrees, and by the pairs for and against it.

    Args:
        image: index of the photograph.
        found: what its matches show.
        estimate: the pose.
        size: of the photograph, raw pixels.
    """
    count = len(found.pairs)
    inliers = np.bincount(found.partner_of[estimate.inlier], minlength=count)
    known = np.bincount(found.partner_of, minlength=count)
    share = inliers / np.maximum(known, 1)
    supports = (inliers >= _MIN_INLIERS_OF_PARTNER) & (share >= _MIN_SHARE_OF_MATCHES)
    against = (known >= _CLEAR_MATCHES) & (share < _MIN_SHARE_OF_MATCHES)
    counted = supports[found.partner_of] if len(found.partner_of) else np.zeros(0, bool)
    agreeing = estimate.inlier & counted
    num_inliers = len(np.unique(found.xy[agreeing], axis=0))
    needed = _MIN_INLIERS if supports.sum() > 1 else _MIN_INLIERS_OF_ONE
    why = ""
    if num_inliers >= needed:
        if known[against].sum() > _MAX_AGAINST * num_inliers:
            why = f"{known[against].sum()} others contradict them"
        elif supports.sum() < 2 and (agreeing & found.on_track).sum() < _MIN_INLIERS:
            why = "of points that no second photograph confirms"
        elif pose_confidence(found.xy[counted], estimate.inlier[counted], size) < _MIN_CONFIDENCE:
            why = "in a small part of the picture"
    link = None if num_inliers >= needed and not why else _missing(image, found, estimate, needed, why)
    return Attempt(
        image=image,
        estimate=estimate,
        supporting=[pair for pair, is_for in zip(found.pairs, supports, strict=True) if is_for],
        num_inliers=num_inliers,
        link=link,
    )


def _missing(
    image: int,
    found: Correspondences,
    estimate: PoseEstimate | None,
    needed: int = _MIN_INLIERS_OF_ONE,
    why: str = "",
) -> Link | None:
    """The best pair of an attempt that failed; None where no pair has any matches."""
    agreeing = found.partner_of if estimate is None else found.partner_of[estimate.inlier]
    if not found.pairs or not len(found.partner_of):
        return None
    inliers = np.bincount(agreeing, minlength=len(found.pairs))
    best = int(inliers.argmax())
    return Link(
        image1=image,
        image2=found.pairs[best].image2,
        num_agreeing=0 if estimate is None else int(inliers[best]),
        num_needed=needed,
        why=why,
    )
