"""Keypoint matches anywhere in two photographs, kept where one epipolar geometry explains them."""

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dust3r_sfm.features.features import Features

_MIN_SIMILARITY = 0.7
_MAX_RATIO = 0.85
"""Least inner product of two descriptors that match, and largest angle between them over that to the second nearest:
looser than COLMAP's, as RANSAC has the last word."""

_MIN_VERIFIED = 15
"""Fewer matches that agree may do so by chance (COLMAP's own limit)."""

_MAX_EPIPOLAR_ERROR = 4.0
"""Raw pixels."""

_BLOCK = 1024


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
    first, second, similarity = _two_best(descriptors1, descriptors2)
    angle, next_angle = (np.arccos(np.clip(value, -1.0, 1.0)) for value in (similarity, second))
    clear = (similarity >= _MIN_SIMILARITY) & (angle <= _MAX_RATIO * next_angle)
    index1 = np.flatnonzero(clear)
    # Only what is clear needs to be looked up in the other direction.
    index1 = index1[_two_best(descriptors2[first[index1]], descriptors1)[0] == index1]
    if len(index1) < _MIN_VERIFIED:
        return nothing
    index2 = first[index1]
    options = pycolmap.RANSACOptions(max_error=_MAX_EPIPOLAR_ERROR, random_seed=seed, max_num_trials=2000)
    found = pycolmap.estimate_fundamental_matrix(features1.xy[index1], features2.xy[index2], options)
    if found is None or found["num_inliers"] < _MIN_VERIFIED:
        return nothing
    inlier = np.asarray(found["inlier_mask"], dtype=bool)
    return np.column_stack([index1, index2])[inlier].astype(np.int64), similarity[index1][inlier].astype(np.float64)


def _two_best(
    descriptors1: Float32[np.ndarray, "n d"], descriptors2: Float32[np.ndarray, "m d"]
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """For each of the first the most similar of the second, the similarity of its runner-up, and its own."""
    nearest = [np.zeros(0, np.int64)]
    runner_up, best = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    for start in range(0, len(descriptors1), _BLOCK):
        similarity = descriptors1[start : start + _BLOCK] @ descriptors2.T
        row = np.arange(len(similarity))
        column = similarity.argmax(axis=1)
        nearest.append(column)
        best.append(similarity[row, column])
        similarity[row, column] = -1.0
        runner_up.append(similarity.max(axis=1))
    return np.concatenate(nearest), np.concatenate(runner_up), np.concatenate(best)
