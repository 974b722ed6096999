"""Pose of camera 2 relative to camera 1 from pointmaps (Procrustes, PnP) or from matches (essential matrix).

All functions give None where too few correspondences agree: failure is a value here.
"""

from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from dust3r_sfm.geometry.focal import weiszfeld_focal
from dust3r_sfm.geometry.pinhole import intrinsics, pixel_grid
from dust3r_sfm.geometry.procrustes import similarity
from dust3r_sfm.geometry.transforms import apply
from dust3r_sfm.types import NOTHING_KNOWN, Matches, PairPrediction, RelativePose, is_known

_ROUNDS = 6
"""Rounds of reweighting; the median residual settles in four to five. Chosen by hand."""

_AGREE_OF_DEPTH = 0.05
"""Distance over depth up to which two pointmaps agree about a pixel. Chosen by hand."""

_MIN_INLIERS = 12
"""Fewer agreeing correspondences say nothing about a pose. Chosen by hand."""

_MAX_SAMPLED = 500
"""Correspondences that take part in the sampling. Chosen by hand."""

_STRIDE_NETWORK_PX = 4
"""Every n-th pixel of each axis takes part; neighbours say the same. Chosen by hand."""


def pose_from_both_directions(
    image1: int, image2: int, prediction: PairPrediction, reverse: PairPrediction, seed: int = 0
) -> RelativePose | None:
    """Align the pointmaps of a pair with those of the reverse pair by a robust similarity (Procrustes).

    Args:
        image1, image2: indices of the images.
        prediction: the pair (1, 2), in camera 1's frame.
        reverse: the pair (2, 1), in camera 2's frame.
        seed: of the sampling that finds the first guess.

    Returns:
        The pose in the units of `prediction`, with each camera's focal length from its own pointmap.
    """
    source, target, weight = (
        np.concatenate(parts)
        for parts in zip(
            _paired(prediction.points1, prediction.confidence1, reverse.points2, reverse.confidence2),
            _paired(prediction.points2, prediction.confidence2, reverse.points1, reverse.confidence1),
            strict=True,
        )
    )
    if len(source) < _MIN_INLIERS:
        return None
    depth = np.linalg.norm(target, axis=1)  # distances count relative to it
    cam2_from_cam1 = _consensus(source, target, _AGREE_OF_DEPTH * float(np.median(depth)), seed)
    # Depth noise grows with depth, so that near points count more.
    weight = weight / np.maximum(depth**2, np.finfo(np.float64).tiny)
    for _ in range(_ROUNDS):
        residual = np.linalg.norm(apply(cam2_from_cam1, source) - target, axis=1) / depth
        robust = 1.0 / (1.0 + (residual / max(2.0 * float(np.median(residual)), 1e-9)) ** 2) ** 2
        cam2_from_cam1 = similarity(source, target, weight * robust)
    residual = np.linalg.norm(apply(cam2_from_cam1, source) - target, axis=1) / depth
    num_inliers = int((residual <= _AGREE_OF_DEPTH).sum())
    if num_inliers < _MIN_INLIERS:
        return None
    scale = float(np.cbrt(np.linalg.det(cam2_from_cam1[:3, :3])))
    return RelativePose(
        image1=image1,
        image2=image2,
        cam2_from_cam1=cam2_from_cam1[:3] / scale,
        focal1=_focal(prediction.points1, prediction.confidence1),
        focal2=_focal(reverse.points1, reverse.confidence1),
        num_inliers=num_inliers,
        score=num_inliers / len(source),
    )


def pose_from_pnp(
    image1: int,
    image2: int,
    prediction: PairPrediction,
    focal2: float,
    max_error: float = 4.0,
    seed: int = 0,
) -> RelativePose | None:
    """Find camera 2 from its pixels and their points in camera 1's frame (pycolmap's LO-RANSAC and refinement).

    Args:
        image1, image2: indices of the images.
        prediction: the pair (1, 2), in camera 1's frame.
        focal2: focal length of camera 2 in network pixels; its principal point is the centre.
        max_error: largest reprojection error of an inlier in network pixels.
        seed: of the sampling.

    Returns:
        The pose in the units of `prediction`.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    height, width = prediction.confidence2.shape
    points = prediction.points2[::_STRIDE_NETWORK_PX, ::_STRIDE_NETWORK_PX].reshape(-1, 3).astype(np.float64)
    known = np.isfinite(points).all(axis=1) & is_known(
        prediction.confidence2[::_STRIDE_NETWORK_PX, ::_STRIDE_NETWORK_PX].ravel()
    )
    pixels = pixel_grid(height, width)[::_STRIDE_NETWORK_PX, ::_STRIDE_NETWORK_PX].reshape(-1, 2)
    if known.sum() < _MIN_INLIERS:
        return None
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error, options.ransac.random_seed = max_error, seed
    camera = _camera(intrinsics(focal2, (width, height)))
    estimate = pycolmap.estimate_and_refine_absolute_pose(pixels[known], points[known], camera, options)
    if estimate is None or estimate["num_inliers"] < _MIN_INLIERS:
        return None
    return RelativePose(
        image1=image1,
        image2=image2,
        cam2_from_cam1=estimate["cam_from_world"].matrix(),
        focal1=_focal(prediction.points1, prediction.confidence1),
        focal2=focal2,
        num_inliers=int(estimate["num_inliers"]),
        score=float(estimate["num_inliers"] / known.sum()),
    )


def pose_from_matches(
    matches: Matches,
    intrinsics1: Float64[np.ndarray, "3 3"],
    intrinsics2: Float64[np.ndarray, "3 3"],
    max_error: float = 2.0,
    seed: int = 0,
) -> RelativePose | None:
    """Find the pose by the essential matrix of the matches (pycolmap's LO-RANSAC, five-point algorithm).

    Args:
        matches: correspondences, in the pixels of the intrinsics.
        intrinsics1, intrinsics2: pinhole matrices; the focal lengths of the result are theirs.
        max_error: largest epipolar error of an inlier in those pixels.
        seed: of the sampling.

    Returns:
        The pose with a translation of length 1, because matches do not tell the scale.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    if len(matches.xy1) < _MIN_INLIERS:
        return None
    options = pycolmap.RANSACOptions(max_error=max_error, random_seed=seed)
    cameras = _camera(intrinsics1), _camera(intrinsics2)
    estimate = pycolmap.estimate_relative_pose(cameras[0], matches.xy1, cameras[1], matches.xy2, options)
    if estimate is None or estimate["num_inliers"] < _MIN_INLIERS:
        return None
    pose = estimate["cam2_from_cam1"].matrix()
    pose[:, 3] /= max(float(np.linalg.norm(pose[:, 3])), np.finfo(np.float64).tiny)
    return RelativePose(
        image1=matches.image1,
        image2=matches.image2,
        cam2_from_cam1=pose,
        focal1=float(intrinsics1[0, 0]),
        focal2=float(intrinsics2[0, 0]),
        num_inliers=int(estimate["num_inliers"]),
        score=float(estimate["num_inliers"] / len(matches.xy1)),
    )


def _consensus(
    source: Float64[np.ndarray, "m 3"], target: Float64[np.ndarray, "m 3"], max_error: float, seed: int
) -> Float64[np.ndarray, "4 4"]:
    """A similarity that many correspondences agree on (pycolmap's LO-RANSAC), or the plain fit where none is found."""
    from dust3r_sfm.system._pycolmap import pycolmap

    some = np.linspace(0, len(source) - 1, min(len(source), _MAX_SAMPLED)).astype(int)
    options = pycolmap.RANSACOptions(max_error=max_error, random_seed=seed, max_num_trials=1000, min_num_trials=100)
    estimate: Any = pycolmap.estimate_sim3d_robust(source[some], target[some], options)
    if estimate is None:
        return similarity(source, target)
    return np.vstack([estimate["tgt_from_src"].matrix(), [0.0, 0.0, 0.0, 1.0]])


def _paired(
    source: Float32[np.ndarray, "h w 3"],
    source_confidence: Float32[np.ndarray, "h w"],
    target: Float32[np.ndarray, "h w 3"],
    target_confidence: Float32[np.ndarray, "h w"],
) -> tuple[Float64[np.ndarray, "m 3"], Float64[np.ndarray, "m 3"], Float64[np.ndarray, " m"]]:
    """Points of the same pixels in two maps, weighted by the log confidence of both (0 where either knows nothing)."""
    grid = np.s_[::_STRIDE_NETWORK_PX, ::_STRIDE_NETWORK_PX]
    from_points, to_points = source[grid].reshape(-1, 3), target[grid].reshape(-1, 3)
    product = information(source_confidence[grid]) * information(target_confidence[grid])
    weight = np.sqrt(product.ravel().astype(np.float64))
    known = np.isfinite(from_points).all(axis=1) & np.isfinite(to_points).all(axis=1) & (weight > 0)
    return from_points[known].astype(np.float64), to_points[known].astype(np.float64), weight[known]


def information(confidence: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """The weight of pixels in a fit: the logarithm of their confidence, 0 where nothing is known."""
    weight: Float32[np.ndarray, "*shape"] = np.log(np.maximum(confidence, np.float32(NOTHING_KNOWN)))
    return weight


def _focal(points: Float32[np.ndarray, "h w 3"], confidence: Float32[np.ndarray, "h w"]) -> float:
    return weiszfeld_focal(points, information(confidence), stride=_STRIDE_NETWORK_PX)


def _camera(matrix: Float64[np.ndarray, "3 3"]) -> Any:
    from dust3r_sfm.system._pycolmap import pycolmap

    width, height = np.ceil(2.0 * matrix[:2, 2]).astype(int).tolist()
    params = [matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]]
    return pycolmap.Camera(model="PINHOLE", width=width, height=height, params=params)
