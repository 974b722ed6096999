"""Keypoint matches anywhere in two photographs, kept where one epipolar geometry explains them."""

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dust3r_sfm.features.features import Features
from dust3r_sfm.features.two_best import mutual_matches

_MIN_SIMILARITY = 0.7
"""Least inner product of two descriptors that match: looser than COLMAP's, as RANSAC has the last word. Chosen by
hand."""

_MAX_RATIO = 0.85
"""Largest angle between two descriptors over that to the second nearest; as loose. Chosen by hand."""

_MIN_VERIFIED = 15
"""Matches that agree; fewer may do so by chance (COLMAP's default)."""

_MAX_EPIPOLAR_ERROR_RAW_PX = 4.0
"""Distance of a match from its epipolar line, raw pixels (COLMAP's default)."""

_MAX_TRIALS = 2000
"""Samples of the RANSAC at most. Chosen by hand."""


def verified_matches(
    features1: Features, features2: Features, seed: int
) -> tuple[Int64[np.ndarray, "m 2"], Float64[np.ndarray, " m"]]:
    """Match keypoints anywhere, and keep what one epipolar geometry explains (pycolmap's LO-RANSAC).

    For pairs whose alignment is too rough to say where to look.

    Args:
        features1, features2: keypoints of both photographs, in raw pixels.
        seed: of the sampling.

    Returns:
        Keypoints of both photographs per match, ordered by the first; and the similarity of their descriptors.
    """
    matched, similarity = loose_matches(features1, features2)
    inlier = epipolar_inliers(features1.xy[matched[:, 0]], features2.xy[matched[:, 1]], seed)
    return matched[inlier], similarity[inlier]


def epipolar_inliers(
    xy1: Float64[np.ndarray, "m 2"], xy2: Float64[np.ndarray, "m 2"], seed: int
) -> Bool[np.ndarray, " m"]:
    """Say which matches one epipolar geometry explains (pycolmap's LO-RANSAC); none where they are too few.

    Args:
        xy1, xy2: places in both photographs, raw pixels.
        seed: of the sampling.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    if len(xy1) < _MIN_VERIFIED:
        return np.zeros(len(xy1), bool)
    options = pycolmap.RANSACOptions(max_error=_MAX_EPIPOLAR_ERROR_RAW_PX, random_seed=seed, max_num_trials=_MAX_TRIALS)
    geometry = pycolmap.estimate_fundamental_matrix(xy1, xy2, options)
    if geometry is None or geometry["num_inliers"] < _MIN_VERIFIED:
        return np.zeros(len(xy1), bool)
    return np.asarray(geometry["inlier_mask"], dtype=bool)


def loose_matches(
    features1: Features, features2: Features
) -> tuple[Int64[np.ndarray, "m 2"], Float64[np.ndarray, " m"]]:
    """Match keypoints anywhere, each other's most similar; as `verified_matches` before one geometry has to agree."""
    if min(len(features1.xy), len(features2.xy)) == 0:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    return mutual_matches(features1.unit_descriptors(), features2.unit_descriptors(), _MIN_SIMILARITY, _MAX_RATIO)
