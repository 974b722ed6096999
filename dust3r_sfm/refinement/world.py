"""What is measured of the world in the last adjustment: it shapes the model, and says where the model ends up.

Positions enter as priors with a Cauchy loss (pycolmap), surveyed points as points that do not move. Gravity and a
distance bend nothing: they turn and scale the adjusted model as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.alignment.frame.control import fit_control
from dust3r_sfm.alignment.frame.georegister import Fit, fit_positions
from dust3r_sfm.alignment.frame.upright import Down, find_down
from dust3r_sfm.colmap.camera_models import cameras_of
from dust3r_sfm.colmap.model import id_of_image, image_of_id, with_points
from dust3r_sfm.geometry.grid import raw_from_upright
from dust3r_sfm.geometry.transforms import apply, centres
from dust3r_sfm.system._pycolmap import Reconstruction, Sim3d
from dust3r_sfm.tracks.triangulation import joined
from dust3r_sfm.types import Positions, Priors, Scene, Tracks

if TYPE_CHECKING:
    from pycolmap import BundleAdjustmentConfig, BundleAdjustmentOptions

_MAX_TURN_DEGREES = 15.0
"""Gravity that is further off than this is no correction of an upright model; chosen by hand."""
_COPIES_OF_MARK, _BETWEEN_COPIES_RAW_PX = 10, 1e-4
"""pycolmap weighs all observations alike, and few marks must hold against thousands of keypoints: each is entered ten
times. Chosen by hand, between points that the model misses and a model that follows the errors of marks."""
_NUM_LOSS_SCALES = 3
"""Rounds in which the loss narrows from what control points miss by to the scale of keypoints; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class World:
    """What is measured of the world that a scene is in.

    Attributes:
        priors: the measurements.
        raw_from_upright: turns of the cameras (n, 3, 3).
    """

    priors: Priors
    raw_from_upright: Float64[np.ndarray, "n 3 3"]

    @staticmethod
    def of(scene: Scene) -> "World | None":
        """What the scene knows; None without anything, or where known poses hold the frame."""
        if scene.priors is None or scene.known_poses.any():
            return None
        return World(priors=scene.priors, raw_from_upright=raw_from_upright(scene.network_from_image))

    @property
    def has_positions(self) -> bool:
        """Whether positions shape the model; surveyed points, where there are some, do it alone."""
        return self.priors.positions is not None and self.priors.control is None

    @property
    def has_control(self) -> bool:
        """Whether surveyed points shape the model."""
        return self.priors.control is not None

    def solve_with_positions(
        self, model: Reconstruction, config: "BundleAdjustmentConfig", options: "BundleAdjustmentOptions"
    ) -> bool:
        """Adjust a model in place with the positions of its cameras; False where too few agree, and nothing is done."""
        from dust3r_sfm.system._pycolmap import pycolmap

        fit = self._fit(model)
        if fit is None:
            return False
        model.transform(pycolmap.Sim3d(fit.world_from_model[:3]))
        of_priors = pycolmap.PosePriorBundleAdjustmentOptions()
        of_priors.alignment_ransac.random_seed = 0
        of_priors.ceres.prior_position_loss_function_type = pycolmap.LossFunctionType.CAUCHY
        pose_priors = []
        for image in self._positioned(model):
            assert self.priors.positions is not None, "asked for by the caller"
            prior = pycolmap.PosePrior(
                position=self.priors.positions.xyz[image],
                position_covariance=np.diag(self.priors.positions.sigmas[image] ** 2),
                coordinate_system=pycolmap.PosePriorCoordinateSystem.CARTESIAN,
            )
            prior.pose_prior_id = id_of_image(image)
            prior.corr_data_id = model.images[id_of_image(image)].data_id
            pose_priors.append(prior)
        pycolmap.create_pose_prior_bundle_adjuster(options, of_priors, config, pose_priors, model).solve()
        return True

    def with_control(self, cameras: Reconstruction, tracks: Tracks) -> tuple[Reconstruction, list[int]]:
        """Bring cameras and points to the surveyed points, and add these.

        Returns:
            The model, and the ids of the surveyed points in it; none where they do not agree with the cameras.
        """
        from dust3r_sfm.system._pycolmap import pycolmap

        control = self.priors.control
        assert control is not None, "asked for by the caller"
        posed = cameras_of(cameras, len(self.raw_from_upright))
        fit = fit_control(control, posed, 0)
        if fit is None:
            return with_points(cameras, tracks), []
        observing = np.isin(np.arange(len(posed.posed)), tracks.image_of)
        seen = observing[control.image_of] & fit.agreeing[control.point_of]
        marks = Tracks(
            xyz=control.xyz,
            rgb=np.zeros((len(control.names), 3), np.uint8),
            track_of=control.point_of[seen],
            image_of=control.image_of[seen],
            xy=control.xy[seen],
        )
        # An image holds a pixel once, so copies of a mark lie a little apart.
        copies = [replace(marks, xy=marks.xy + copy * _BETWEEN_COPIES_RAW_PX) for copy in range(_COPIES_OF_MARK)]
        marks = joined(copies)
        marks = marks.take(np.ones(len(marks.xy), bool))
        model = with_points(cameras, tracks)
        model.transform(pycolmap.Sim3d(fit.world_from_model[:3]))
        moved = replace(tracks, xyz=apply(fit.world_from_model, tracks.xyz))
        model = with_points(model, joined([moved, marks]))
        return model, sorted(model.points3D)[len(tracks.xyz) :]

    def correction(self, model: Reconstruction) -> Sim3d | None:
        """The similarity that brings an adjusted model into this world; None where it is there."""
        from dust3r_sfm.system._pycolmap import pycolmap

        if self.has_control:
            return None
        if self.has_positions:
            fit = self._fit(model)
            return None if fit is None else pycolmap.Sim3d(fit.world_from_model[:3])
        similarity = np.eye(4)
        down = self._down(model) if self.priors.upright else None
        if down is not None and -down.direction[2] > np.cos(np.radians(_MAX_TURN_DEGREES)):
            similarity[:3, :3] = _onto(down.direction, np.array([0.0, 0.0, -1.0]))
        if self.priors.distance is not None:
            first, second, metres = self.priors.distance
            ids = id_of_image(first), id_of_image(second)
            if all(one in model.images for one in ids):
                ends = [model.images[one].projection_center() for one in ids]
                similarity[:3, :3] *= metres / float(np.linalg.norm(ends[1] - ends[0]))
        return None if np.array_equal(similarity, np.eye(4)) else pycolmap.Sim3d(similarity[:3])

    def _fit(self, model: Reconstruction) -> Fit | None:
        positions, images = self.priors.positions, self._positioned(model)
        assert positions is not None, "asked for by the caller"
        if len(images) < 4:
            return None
        eyes = centres(cameras_of(model, len(self.raw_from_upright)).cam_from_world[images])
        measured = Positions(xyz=positions.xyz[images], sigmas=positions.sigmas[images])
        return fit_positions(eyes, measured, self._down(model), 0)

    def _positioned(self, model: Reconstruction) -> list[int]:
        """Images of a model whose position is measured."""
        assert self.priors.positions is not None, "asked for by the caller"
        known = np.isfinite(self.priors.positions.xyz).all(1)
        return [image for image in sorted(map(image_of_id, model.images)) if bool(known[image])]

    def _down(self, model: Reconstruction) -> Down | None:
        cameras = cameras_of(model, len(self.raw_from_upright))
        upright = np.swapaxes(self.raw_from_upright, 1, 2) @ cameras.cam_from_world
        gravity = None if self.priors.gravity is None else self.priors.gravity[cameras.posed]
        return find_down(upright[cameras.posed], gravity)


def solve_with_control(
    model: Reconstruction, control: Sequence[int], config: "BundleAdjustmentConfig", options: "BundleAdjustmentOptions"
) -> None:
    """Adjust a model in place to surveyed points, which stay, and take these out of it.

    The loss narrows from what they miss by to the given scale: a bent model must not take them for wrong.

    Args:
        model: with the surveyed points among its own.
        control: their ids.
        config: the images that take part.
        options: with the scale of the loss in raw pixels.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    scale = options.ceres.loss_function_scale
    start = max(scale, float(np.median([model.points3D[point_id].error for point_id in control])))
    for point_id in control:
        config.add_constant_point(point_id)
    for narrower in np.geomspace(start, scale, _NUM_LOSS_SCALES if start > scale else 1):
        options.ceres.loss_function_scale = float(narrower)
        pycolmap.create_default_bundle_adjuster(options, config, model).solve()
    for point_id in control:
        model.delete_point3D(point_id)


def _onto(direction: Float64[np.ndarray, " 3"], target: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, "3 3"]:
    """The smallest rotation that takes one direction of length 1, not the opposite, to another."""
    axis = np.cross(direction, target)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    rotation: Float64[np.ndarray, "3 3"] = np.eye(3) + skew + skew @ skew / (1.0 + float(direction @ target))
    return rotation
