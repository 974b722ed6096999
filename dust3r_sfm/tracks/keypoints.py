"""Keypoints are positions: two observations of one image are the same keypoint when their coordinates are equal."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.types import Matches


def unique_keypoints(
    image_of: Int64[np.ndarray, " o"], xy: Float64[np.ndarray, "o 2"]
) -> tuple[Int64[np.ndarray, " k"], Float64[np.ndarray, "k 2"], Int64[np.ndarray, " o"]]:
    """Number the distinct (image, position) pairs, ordered by image, then x, then y.

    Returns:
        Image of each keypoint, its position, and the keypoint of each observation.
    """
    order = np.lexsort((xy[:, 1], xy[:, 0], image_of))
    image_sorted, xy_sorted = image_of[order], xy[order]
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = (image_sorted[1:] != image_sorted[:-1]) | np.any(xy_sorted[1:] != xy_sorted[:-1], axis=1)
    keypoint_of = np.empty(len(order), dtype=np.int64)
    keypoint_of[order] = np.cumsum(is_new) - 1
    return image_sorted[is_new], xy_sorted[is_new], keypoint_of


def match_ends(matches: Sequence[Matches]) -> tuple[Int64[np.ndarray, " o"], Float64[np.ndarray, "o 2"]]:
    """Image and position of both ends of all matches: the first ends of all of them, then the second ends."""
    sides = [(pair.image1, pair.xy1) for pair in matches] + [(pair.image2, pair.xy2) for pair in matches]
    image_of = np.repeat([image for image, _ in sides], [len(xy) for _, xy in sides]).astype(np.int64)
    return image_of, np.concatenate([np.zeros((0, 2)), *(xy for _, xy in sides)])


def keypoint_rows(keypoints: Float64[np.ndarray, "k 2"], xy: Float64[np.ndarray, "m 2"]) -> Int64[np.ndarray, " m"]:
    """Row of each position in one image's keypoint list, -1 where it is not listed."""
    if len(keypoints) == 0:
        return np.full(len(xy), -1, dtype=np.int64)
    keys, wanted = _as_complex(keypoints), _as_complex(xy)
    order = np.argsort(keys, kind="stable")
    found = order[np.searchsorted(keys[order], wanted).clip(max=len(keys) - 1)]
    return np.where(keys[found] == wanted, found, -1).astype(np.int64)


def positions(points2d: Iterable[object]) -> Float64[np.ndarray, "k 2"]:
    """Positions of a pycolmap image's points2D, in order."""
    return np.array([point.xy for point in points2d], dtype=np.float64).reshape(-1, 2)  # type: ignore[attr-defined]


def _as_complex(xy: Float64[np.ndarray, "k 2"]) -> np.ndarray:
    """Positions as complex numbers: numpy sorts and searches those by x, then y."""
    return np.ascontiguousarray(xy).view(np.complex128)[:, 0]
