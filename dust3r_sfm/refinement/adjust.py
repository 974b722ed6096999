"""Bundle adjustment of a model's cameras on tracks, by pycolmap, in the frame of the scene."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.colmap.model import id_of_image, with_points
from dust3r_sfm.geometry.procrustes import similarity
from dust3r_sfm.refinement.world import World, solve_with_control
from dust3r_sfm.system._pycolmap import Reconstruction, Sim3d, quiet
from dust3r_sfm.types import Scene, Tracks

if TYPE_CHECKING:
    from pycolmap import BundleAdjustmentOptions

_MIN_OBSERVATIONS = 20
"""Images that see fewer points stay where they are; chosen by hand."""

_LOSS_SCALES_RAW_PX = (0.2, 4.0)
"""Least and largest scale of the Cauchy loss in raw pixels, chosen by hand; between them it is the median error at the
start, so that wrong matches lose their pull as cameras get better."""

_TOLERANCE_OF_COST, _LAST_TOLERANCE_OF_COST = 1e-4, 1e-5
"""Share by which the cost must fall in a step, chosen by hand: while better cameras still change the matches, and in
the end."""


@dataclass(frozen=True, kw_only=True)
class AdjustmentMask:
    """What an adjustment may move, besides points and the poses and focal lengths that are not known.

    Attributes:
        known_cameras: images whose camera stays exactly (n,).
        known_poses: images whose pose stays exactly (n,).
        principal_points: whether principal points move.
        distortion: whether distortion parameters move.
        world: what is measured of the world, for the last adjustment.
    """

    known_cameras: Bool[np.ndarray, " n"]
    known_poses: Bool[np.ndarray, " n"]
    principal_points: bool = False
    distortion: bool = False
    world: World | None = None

    @staticmethod
    def of(scene: Scene) -> "AdjustmentMask":
        """Everything that the user did not give may move, except principal points and distortion."""
        return AdjustmentMask(known_cameras=scene.known_cameras, known_poses=scene.known_poses, world=World.of(scene))


def adjusted(
    cameras: Reconstruction, tracks: Tracks, mask: AdjustmentMask, *, last: bool = False
) -> tuple[Reconstruction, Tracks]:
    """Move cameras and points to where the observations agree best (Cauchy loss, one thread: sums keep their order).

    Images that see less than 20 points stay, and their observations do not count.

    Args:
        cameras: cameras and poses to start from, image ids those of `id_of_image`; its points do not count.
        tracks: points and observations of those images.
        mask: what may move.
        last: go on until nothing changes that shows, and let what is measured of the world have its say.

    Returns:
        The model with its points, and the tracks that took part, moved. Frame and scale are those of the points as they
        were, or of the known poses; in the end those of the world that is measured.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    well_seen = np.bincount(tracks.image_of, minlength=len(mask.known_poses)) >= _MIN_OBSERVATIONS
    tracks = tracks.take(well_seen[tracks.image_of])
    if len(tracks.xyz) == 0:
        return with_points(cameras, tracks), tracks
    world = mask.world if last and not mask.known_poses.any() else None
    control: list[int] = []
    if world is not None and world.has_control:
        model, control = world.with_control(cameras, tracks)
    else:
        model = with_points(cameras, tracks)
    config = pycolmap.BundleAdjustmentConfig()
    for index in np.unique(tracks.image_of).tolist():
        image = model.images[id_of_image(index)]
        config.add_image(image.image_id)
        if mask.known_poses[index]:
            config.set_constant_rig_from_world_pose(image.frame_id)
        if mask.known_cameras[index]:
            config.set_constant_cam_intrinsics(image.camera_id)
    errors = np.array([point.error for _, point in sorted(model.points3D.items())])
    scale = float(np.clip(np.median(errors[: len(tracks.xyz)]), *_LOSS_SCALES_RAW_PX))
    options = _options(mask, scale, _LAST_TOLERANCE_OF_COST if last else _TOLERANCE_OF_COST)
    with quiet():
        if control:
            solve_with_control(model, control, config, options)
        elif not (world is not None and world.has_positions and world.solve_with_positions(model, config, options)):
            if mask.known_poses[np.unique(tracks.image_of)].sum() < 2:
                config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
            pycolmap.create_default_bundle_adjuster(options, config, model).solve()
            if not mask.known_poses.any():
                _move_back(model, cameras, tracks)
    correction = None if world is None else world.correction(model)
    if correction is not None:
        model.transform(correction)
    model.update_point_3d_errors()
    return model, replace(tracks, xyz=_positions(model))


def _positions(model: Reconstruction) -> Float64[np.ndarray, "t 3"]:
    return np.array([point.xyz for _, point in sorted(model.points3D.items())])


def _move_back(model: Reconstruction, cameras: Reconstruction, tracks: Tracks) -> None:
    """Bring an adjusted model to where its points were."""
    from dust3r_sfm.system._pycolmap import pycolmap

    old_from_new = _similarity(cameras, tracks, _positions(model))
    _transform(model, pycolmap.Sim3d(old_from_new[:3]), np.unique(tracks.image_of))


def _options(mask: AdjustmentMask, loss_scale: float, tolerance: float) -> "BundleAdjustmentOptions":
    from dust3r_sfm.system._pycolmap import pycolmap

    options = pycolmap.BundleAdjustmentOptions(
        print_summary=False,
        refine_principal_point=mask.principal_points,
        refine_extra_params=mask.distortion,
    )
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = loss_scale
    options.ceres.solver_options.function_tolerance = tolerance
    options.ceres.solver_options.num_threads = 1
    return options


def _similarity(cameras: Reconstruction, tracks: Tracks, xyz: Float64[np.ndarray, "t 3"]) -> Float64[np.ndarray, "4 4"]:
    """The similarity that takes moved points back to where they were; near points count more, as they are surer."""
    first = np.searchsorted(tracks.track_of, np.arange(len(xyz)))
    centres = np.zeros((int(tracks.image_of.max()) + 1, 3))
    for index in np.unique(tracks.image_of).tolist():
        centres[index] = cameras.images[id_of_image(index)].projection_center()
    distance = np.linalg.norm(tracks.xyz - centres[tracks.image_of[first]], axis=1)
    back: Float64[np.ndarray, "4 4"] = similarity(xyz, tracks.xyz, 1.0 / np.maximum(distance, 1e-9) ** 2)
    return back


def _transform(model: Reconstruction, old_from_new: Sim3d, moved: Int64[np.ndarray, " m"]) -> None:
    """Apply a similarity to the points and to the images that were adjusted; the others are where they belong."""
    moved_ids = set(map(id_of_image, moved.tolist()))
    untouched = {i: image.cam_from_world() for i, image in model.images.items() if i not in moved_ids}
    model.transform(old_from_new)
    for image_id, cam_from_world in untouched.items():
        frame = model.frames[model.images[image_id].frame_id]
        frame.set_cam_from_world(model.images[image_id].camera_id, cam_from_world)
