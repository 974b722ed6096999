"""The ratio test: a match is the most similar keypoint where its runner-up clearly is not (Lowe 2004, section 7)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64


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
