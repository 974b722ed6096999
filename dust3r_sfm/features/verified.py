"""Keypoint matches anywhere in two photographs, kept where one epipolar geometry explains them."""

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dust3r_sfm.features.features import Features
from dust3r_sfm.features.two_best import TwoBest

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

_BLOCK = 1024
"""Descriptors compared in one go. Chosen by hand."""


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
    from dust3r_sfm.system._pycolmap import pycolmap

    nothing = np.zeros((0, 2), np.int64), np.zeros(0)
    if min(len(features1.xy), len(features2.xy)) < 2:
        return nothing
    descriptors1, descriptors2 = features1.unit_descriptors(), features2.unit_descriptors()
    nearest = _two_best(descriptors1, descriptors2)
    index1 = np.flatnonzero(nearest.is_clear(_MIN_SIMILARITY, _MAX_RATIO))
    # Only what is clear needs to be looked up in the other direction.
    index1 = index1[_two_best(descriptors2[nearest.partner[index1]], descriptors1).partner == index1]
    if len(index1) < _MIN_VERIFIED:
        return nothing
    index2 = nearest.partner[index1]
    options = pycolmap.RANSACOptions(max_error=_MAX_EPIPOLAR_ERROR_RAW_PX, random_seed=seed, max_num_trials=_MAX_TRIALS)
    geometry = pycolmap.estimate_fundamental_matrix(features1.xy[index1], features2.xy[index2], options)
    if geometry is None or geometry["num_inliers"] < _MIN_VERIFIED:
        return nothing
    inlier = np.asarray(geometry["inlier_mask"], dtype=bool)
    pairs = np.column_stack([index1, index2])[inlier].astype(np.int64)
    return pairs, nearest.best[index1][inlier].astype(np.float64)


def _two_best(descriptors1: Float32[np.ndarray, "n d"], descriptors2: Float32[np.ndarray, "m d"]) -> TwoBest:
    """The two most similar of the second, for each of the first."""
    partner = [np.zeros(0, np.int64)]
    best, second = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    for start in range(0, len(descriptors1), _BLOCK):
        similarity = descriptors1[start : start + _BLOCK] @ descriptors2.T
        row = np.arange(len(similarity))
        column = similarity.argmax(axis=1)
        partner.append(column)
        best.append(similarity[row, column])
        similarity[row, column] = -1.0
        second.append(similarity.max(axis=1))
    return TwoBest(np.concatenate(partner), np.concatenate(best), np.concatenate(second))
