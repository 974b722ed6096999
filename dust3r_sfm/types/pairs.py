"""Pairs of photographs: which are predicted, what is predicted of them, and what follows for each pair alone."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

Edge = tuple[int, int]

NOTHING_KNOWN = 1.0
"""The confidence of a pixel of which nothing is known; every other confidence is greater (Wang et al. 2024, eq. 4)."""
GUESSED = 1.001
"""The highest confidence of a pixel whose depth is a guess: it fills depth maps, and no alignment heeds it. The least
above 1 that half precision keeps."""


def is_known(confidence: Float32[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """Whether anything is known of each pixel, by its confidence."""
    known: Bool[np.ndarray, "*shape"] = confidence > NOTHING_KNOWN
    return known


@dataclass(frozen=True, kw_only=True)
class PairGraph:
    """Which pairs of images are predicted.

    Attributes:
        num_images: number of nodes.
        edges: directed pairs (i, j); both pointmaps of an edge are in camera i's frame. Selection gives each unordered
            pair once, as i < j; prediction adds the reverse direction unless told otherwise.
        weights: one weight per edge (retrieval similarity, view overlap, or 1).
    """

    num_images: int
    edges: Int64[np.ndarray, "e 2"]
    weights: Float64[np.ndarray, " e"]


@dataclass(frozen=True, kw_only=True)
class PairPrediction:
    """What a predictor says about a directed pair (1, 2): two dense pointmaps, BOTH IN CAMERA 1'S FRAME.

    The scale is arbitrary unless the predictor is metric. Pixel (column, row) of a map stands for the network pixel
    centre (column + 0.5, row + 0.5) of its image.

    Attributes:
        points1: points of image 1's pixels in camera 1's frame (h1, w1, 3).
        confidence1: confidence of `points1`, at least 1; 1 means "nothing known here".
        points2: points of image 2's pixels in camera 1's frame (h2, w2, 3).
        confidence2: confidence of `points2`.
        descriptors1, descriptors2: optional per-pixel matching descriptors of unit length (MASt3R).
        descriptor_confidence1, descriptor_confidence2: their confidence, above 0; given with them.
    """

    points1: Float32[np.ndarray, "h1 w1 3"]
    confidence1: Float32[np.ndarray, "h1 w1"]
    points2: Float32[np.ndarray, "h2 w2 3"]
    confidence2: Float32[np.ndarray, "h2 w2"]
    descriptors1: Float32[np.ndarray, "h1 w1 d"] | None = None
    descriptors2: Float32[np.ndarray, "h2 w2 d"] | None = None
    descriptor_confidence1: Float32[np.ndarray, "h1 w1"] | None = None
    descriptor_confidence2: Float32[np.ndarray, "h2 w2"] | None = None


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Corresponding pixels of two images, in raw original pixels (COLMAP origin).

    Attributes:
        image1, image2: indices into the image set.
        xy1, xy2: corresponding positions (m, 2); equal rows of one image's positions are the same keypoint.
        confidence: one score per match, higher is better.
    """

    image1: int
    image2: int
    xy1: Float64[np.ndarray, "m 2"]
    xy2: Float64[np.ndarray, "m 2"]
    confidence: Float64[np.ndarray, " m"]

    def take(self, rows: Bool[np.ndarray, " m"] | Int64[np.ndarray, " k"]) -> "Matches":
        """Some of the matches, by mask or by index."""
        return replace(self, xy1=self.xy1[rows], xy2=self.xy2[rows], confidence=self.confidence[rows])

    def turned(self) -> "Matches":
        """The same matches with the images in the other order."""
        return replace(self, image1=self.image2, image2=self.image1, xy1=self.xy2, xy2=self.xy1)


@dataclass(frozen=True, kw_only=True)
class RelativePose:
    """Pose of camera 2 relative to camera 1, with the focal lengths it was found with (network pixels).

    Attributes:
        image1, image2: indices into the image set.
        cam2_from_cam1: rigid transform (3, 4); its translation is in the units of the edge's pointmaps.
        focal1, focal2: focal lengths in network pixels.
        num_inliers: correspondences that agree.
        score: share of correspondences that agree, 0 to 1.
    """

    image1: int
    image2: int
    cam2_from_cam1: Float64[np.ndarray, "3 4"]
    focal1: float
    focal2: float
    num_inliers: int
    score: float
