"""The pose of a query from its pixels and their points in the world (pycolmap's LO-RANSAC and refinement)."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.images.exif import FOCAL_LIMITS_OF_LONG_SIDE
from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.types import KnownCamera, Size, View

FocalState = Literal["known", "prior", "unknown"]

_MIN_INLIERS = 6
"""Fewer correspondences agree on a pose by accident. Chosen by hand."""

_DEFAULT_FOCAL_OF_SIDE = 1.2
"""Focal length over the longer side where nothing is known (COLMAP's default)."""

_RIGHT_RAW_PX, _FAR_OFF_RAW_PX = 2.0, 12.0
"""Pixels at which a correspondence is as likely wrong as right, and beyond which all are equally wrong. Chosen by
hand."""

_CLEARLY_MORE = 1.2
"""A focal length that is found anew replaces the one EXIF tells when this many times as many inliers say so. Chosen by
hand."""

_CELLS_OF_SIDE = 24
"""Cells along the longer side. Chosen by hand."""

_HALF_CELLS = 12.0
"""Cells with inliers at which a pose is believed by half. Chosen by hand."""

_HALF_OF_MATCHES = 0.1
"""Share of inliers at which a pose is believed by half. Chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class PoseEstimate:
    """What the correspondences say.

    Attributes:
        cam_from_world: pose of the raw camera.
        camera: `pycolmap.Camera` of the query; with the focal length that was found where it was not known.
        inlier: which of the correspondences agree.
        covariance: of (rotation vector, translation) for errors of one pixel, or None.
        found_focal: whether the focal length was found with the pose.
    """

    cam_from_world: Float64[np.ndarray, "3 4"]
    camera: Any
    inlier: Bool[np.ndarray, " m"]
    covariance: Float64[np.ndarray, "6 6"] | None
    found_focal: bool = False

    @property
    def num_inliers(self) -> int:
        return int(self.inlier.sum())


def query_camera(view: View, known: KnownCamera | None) -> tuple[Any, FocalState]:
    """The camera to start from: the known one, or a pinhole with the focal length of EXIF or a guess."""
    if known is not None:
        return colmap_camera(known), "known"
    focal = view.focal_prior or _DEFAULT_FOCAL_OF_SIDE * max(view.size)
    width, height = view.size
    camera = KnownCamera(model="SIMPLE_PINHOLE", size=view.size, params=(focal, width / 2, height / 2))
    return colmap_camera(camera), "unknown" if view.focal_prior is None else "prior"


def default_max_error(view: View) -> float:
    """hloc's 12 pixels, and more where the picture is larger than the 1024 pixels they were meant for."""
    return 12.0 * max(1.0, max(view.size) / 1024)


def estimate_pose(
    xy: Float64[np.ndarray, "m 2"],
    xyz: Float64[np.ndarray, "m 3"],
    camera: Any,
    focal: FocalState,
    max_error: float,
    seed: int,
) -> PoseEstimate | None:
    """Estimate the pose, and the focal length where it is not known.

    Args:
        xy: positions in raw pixels of the query.
        xyz: their points in the world.
        camera: `pycolmap.Camera` to start from; its distortion is respected.
        focal: whether its focal length is kept, refined, or found with the pose.
        max_error: largest reprojection error of an inlier, pixels.
        seed: of the sampling.

    Returns:
        The estimate, or None where fewer than six correspondences agree on any pose.
    """
    if focal == "known":
        return _estimate(xy, xyz, camera, max_error, seed, find=False, refine=False)
    solution = _estimate(xy, xyz, camera, max_error, seed, find=True, refine=True)
    if focal == "unknown":
        return solution
    refined = _estimate(xy, xyz, camera, max_error, seed, find=False, refine=True)
    if refined is None or (solution is not None and solution.num_inliers > _CLEARLY_MORE * refined.num_inliers):
        return solution
    return refined


def refine_pose(
    estimate: PoseEstimate, xy: Float64[np.ndarray, "k 2"], xyz: Float64[np.ndarray, "k 3"], focal: FocalState
) -> PoseEstimate:
    """Refine a pose, and the focal length unless it is known, on better points than it was found with.

    Args:
        estimate: the pose to start from; its inliers are kept.
        xy: positions in raw pixels of the query.
        xyz: their points in the world.
        focal: see `estimate_pose`.

    Returns:
        The refined estimate; the one given where these correspondences do not determine a pose.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    if len(xy) < _MIN_INLIERS:
        return estimate
    camera = pycolmap.Camera(estimate.camera.todict())  # the refinement writes into it
    options = pycolmap.AbsolutePoseRefinementOptions()
    options.refine_focal_length = focal != "known"
    start, every = pycolmap.Rigid3d(estimate.cam_from_world), np.ones(len(xy), bool)
    solution = pycolmap.refine_absolute_pose(start, xy, xyz, every, camera, options, return_covariance=True)
    refined = None if solution is None else _checked(solution, camera, estimate.inlier, focal != "known")
    return estimate if refined is None else refined


def misfit(estimate: PoseEstimate, xy: Float64[np.ndarray, "m 2"], xyz: Float64[np.ndarray, "m 3"]) -> float:
    """How badly a pose and its camera explain correspondences: the sum of log(1 + (pixels / 2)²), 12 pixels at most.

    Wrong correspondences cost every pose the same, so that those of different cameras can be compared. A focal length
    that was found counts as a parameter (half the logarithm of the number of correspondences, Schwarz 1978).
    """
    seen = xyz @ estimate.cam_from_world[:, :3].T + estimate.cam_from_world[:, 3]
    front = seen[:, 2] > 0
    pixels = np.full(len(xy), _FAR_OFF_RAW_PX)
    projected = np.asarray(estimate.camera.img_from_cam(seen[front]), np.float64).reshape(-1, 2)
    pixels[front] = np.nan_to_num(np.linalg.norm(projected - xy[front], axis=1), nan=_FAR_OFF_RAW_PX)
    parameters = 0.5 * np.log(max(len(xy), 1)) if estimate.found_focal else 0.0
    return float(np.log1p((np.minimum(pixels, _FAR_OFF_RAW_PX) / _RIGHT_RAW_PX) ** 2).sum() + parameters)


def _estimate(
    xy: Float64[np.ndarray, "m 2"],
    xyz: Float64[np.ndarray, "m 3"],
    camera: Any,
    max_error: float,
    seed: int,
    *,
    find: bool,
    refine: bool,
) -> PoseEstimate | None:
    from dust3r_sfm.system._pycolmap import pycolmap

    if len(xy) < _MIN_INLIERS:
        return None
    estimation = pycolmap.AbsolutePoseEstimationOptions()
    estimation.estimate_focal_length = find
    estimation.ransac.max_error, estimation.ransac.random_seed = max_error, seed
    refinement = pycolmap.AbsolutePoseRefinementOptions()
    refinement.refine_focal_length = refine
    camera = pycolmap.Camera(camera.todict())  # the estimator writes into it
    solution = pycolmap.estimate_and_refine_absolute_pose(
        xy, xyz, camera, estimation, refinement, return_covariance=True
    )
    if solution is None or solution["num_inliers"] < _MIN_INLIERS:
        return None
    return _checked(solution, camera, np.asarray(solution["inlier_mask"], bool).ravel(), refine)


def _checked(
    solution: dict[str, Any], camera: Any, inlier: Bool[np.ndarray, " m"], refined_focal: bool
) -> PoseEstimate | None:
    """What pycolmap found, unless it is no pose or a focal length that no lens has."""
    pose = np.asarray(solution["cam_from_world"].matrix(), np.float64)
    focal = camera.mean_focal_length() / max(camera.width, camera.height)
    low, high = FOCAL_LIMITS_OF_LONG_SIDE
    if not np.isfinite(pose).all() or (refined_focal and not low < focal < high):
        return None
    covariance = np.asarray(solution["covariance"], np.float64)[:6, :6]
    return PoseEstimate(
        cam_from_world=pose,
        camera=camera,
        inlier=inlier,
        covariance=covariance if covariance.shape == (6, 6) and np.isfinite(covariance).all() else None,
        found_focal=refined_focal,
    )


def pose_confidence(xy: Float64[np.ndarray, "m 2"], inlier: Bool[np.ndarray, " m"], size: Size) -> float:
    """Believe a pose by the number of cells of the picture that hold an inlier, and by the share of inliers.

    Wrong poses gather their inliers in few places (many correspondences of one detail count as one here), or few of
    many, where the scene repeats itself.

    Args:
        xy: positions of the correspondences in raw pixels.
        inlier: which of them agree with the pose.
        size: (width, height) of the picture.

    Returns:
        0 to 1.
    """
    cells = np.floor(xy[inlier] / max(size) * _CELLS_OF_SIDE).astype(np.int64)
    spread = (len(np.unique(cells, axis=0)) / _HALF_CELLS) ** 4
    share = (float(inlier.mean()) / _HALF_OF_MATCHES) ** 3 if len(inlier) else 0.0
    return spread / (1 + spread) * share / (1 + share)
