"""The ratio test: a match is the most similar keypoint where its runner-up clearly is not (Lowe 2004, section 7)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

_BLOCK = 1024
"""Descriptors compared in one go. Chosen by hand."""


@dataclass(frozen=True)
class TwoBest:
    """The two most similar keypoints of another photograph, for each of one photograph.

    Attributes:
        partner: the most similar one, -1 where there is none (k,).
        best, second: its similarity, and that of its runner-up: inner products of unit descriptors, -1 where there is
            none (k,).
    """

    partner: Int64[np.ndarray, " k"]
    best: Float32[np.ndarray, " k"]
    second: Float32[np.ndarray, " k"]

    def is_clear(self, min_similarity: float, max_ratio: float) -> Bool[np.ndarray, " k"]:
        """Whether the best is similar, and its angle no more than a share of its runner-up's."""
        angle, second_angle = (np.arccos(np.clip(value, -1.0, 1.0)) for value in (self.best, self.second))
        clear: Bool[np.ndarray, " k"] = (self.best >= min_similarity) & (angle <= max_ratio * second_angle)
        return clear


def mutual_matches(
    descriptors1: Float32[np.ndarray, "n d"],
    descriptors2: Float32[np.ndarray, "m d"],
    min_similarity: float,
    max_ratio: float,
) -> tuple[Int64[np.ndarray, "k 2"], Float64[np.ndarray, " k"]]:
    """Match descriptors of length 1: each other's most similar, and clearly so from the first.

    Returns:
        Rows of both per match, ordered by the first; and their similarity.
    """
    if min(len(descriptors1), len(descriptors2)) < 2:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    nearest = _two_best(descriptors1, descriptors2)
    index1 = np.flatnonzero(nearest.is_clear(min_similarity, max_ratio))
    # Only what is clear needs to be looked up in the other direction.
    index1 = index1[_two_best(descriptors2[nearest.partner[index1]], descriptors1).partner == index1]
    pairs = np.column_stack([index1, nearest.partner[index1]]).astype(np.int64)
    return pairs, nearest.best[index1].astype(np.float64)


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
