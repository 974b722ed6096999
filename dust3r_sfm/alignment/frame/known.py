"""Cameras that are known beforehand, and the world that follows from them."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.alignment.frame.fit import rotation_and_scale
from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.geometry.transforms import invert
from dust3r_sfm.types import ImageSet


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of the images.

    Attributes:
        posed: images whose pose is known (n,).
        world_from_cam: these poses; meaningless elsewhere (n, 3, 4).
        calibrated: images whose intrinsics are known (n,).
    """

    posed: Bool[np.ndarray, " n"]
    world_from_cam: Float64[np.ndarray, "n 3 4"]
    calibrated: Bool[np.ndarray, " n"]

    def select(self, images: Bool[np.ndarray, " n"]) -> "Known":
        """Keep some images."""
        return Known(
            posed=self.posed[images], world_from_cam=self.world_from_cam[images], calibrated=self.calibrated[images]
        )


def known_cameras(images: ImageSet) -> Known:
    """Read what is known from the views."""
    poses = [np.eye(3, 4) if v.known_cam_from_world is None else v.known_cam_from_world for v in images.views]
    return Known(
        posed=np.array([view.known_cam_from_world is not None for view in images.views], bool),
        world_from_cam=invert(np.stack(poses)),
        calibrated=np.array([view.known_intrinsics is not None for view in images.views], bool),
    )


def known_focals(
    images: ImageSet, cameras: Int64[np.ndarray, " n"], focals: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """Replace focal lengths by those that are known of the image or, without one of its own, of its camera."""
    focals = focals.copy()
    matrices = {index: v.known_intrinsics for index, v in enumerate(images.views) if v.known_intrinsics is not None}
    for index, matrix in matrices.items():
        focals[cameras == cameras[index]] = matrix[0, 0]
    for index, matrix in matrices.items():
        focals[index] = matrix[0, 0]
    return focals


def onto_known(placement: Placement, edges: Int64[np.ndarray, "e 2"], known: Known) -> Placement:
    """Bring a placement to the known poses by a similarity, and set these exactly; edges go to their first cameras.

    The rotation is the mean over the known cameras, size and position are those that fit their centres best; one pose
    leaves the size as it is.
    """
    posed = known.posed
    if not posed.any():
        return placement
    given = known.world_from_cam[posed]
    found = np.concatenate([placement.rotations[posed], placement.centres[posed, :, None]], axis=2)
    turn, ratio = rotation_and_scale(found, given)
    # The steps that follow can still mend a size, but not one of almost 0.
    scale = ratio if ratio > 0 else 1.0
    source, target = placement.centres[posed] @ turn.T, given[:, :, 3]
    rotations = turn @ placement.rotations
    centres = scale * (placement.centres @ turn.T - source.mean(0)) + target.mean(0)
    rotations[posed], centres[posed] = given[:, :, :3], target
    return replace(
        placement,
        rotations=rotations,
        centres=centres,
        edge_rotations=rotations[edges[:, 0]],
        edge_centres=centres[edges[:, 0]],
        log_scales=placement.log_scales + np.log(scale),
    )


def in_metres(placement: Placement, edges: Int64[np.ndarray, "e 2"]) -> Placement:
    """Give all edges the scale 1, and the cameras the size that suits them."""
    centres = placement.centres * np.exp(-placement.log_scales.mean())
    return replace(
        placement,
        centres=centres,
        edge_rotations=placement.rotations[edges[:, 0]],
        edge_centres=centres[edges[:, 0]],
        log_scales=np.zeros_like(placement.log_scales),
    )
