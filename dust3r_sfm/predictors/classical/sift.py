"""SIFT keypoints of one photograph, kept compactly, and the matches of two."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from dust3r_sfm.images.load import load_mask, load_pixels
from dust3r_sfm.images.resize import on_grid
from dust3r_sfm.types import View

_WORKING_SIDE_PX = 768
"""Longer side at which keypoints are found (never enlarged): twice the network's halves their position error. Chosen by
hand."""

_NUM_KEYPOINTS = 4000
"""Keypoints of a photograph at most, the strongest. Chosen by hand."""

_DESCRIPTOR_NORM = 512.0
"""Length of a descriptor in bytes, as COLMAP has it."""

_BLOCK = 256
"""Keypoints whose similarities to all of the other photograph's are held at once: they fit the cache. Chosen by
hand."""

_CONTRAST_THRESHOLD = 0.01
"""A quarter of OpenCV's default: weakly textured walls keep keypoints. Chosen by hand."""

_MAX_RATIO = 0.85
"""Distance to the nearest over distance to the second nearest descriptor. Chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Keypoints:
    """Attributes:
    xy: positions in network pixels, the strongest first.
    descriptors: RootSIFT of norm `_DESCRIPTOR_NORM` (so that inner products are exact in single precision).
    """

    xy: Float64[np.ndarray, "n 2"]
    descriptors: UInt8[np.ndarray, "n 128"]


def find_keypoints(view: View) -> Keypoints:
    """Find the strongest SIFT keypoints of a photograph outside its mask (OpenCV's detector; RootSIFT as in COLMAP)."""
    import cv2

    working = on_grid(view, min(_WORKING_SIDE_PX, max(view.size)))
    grey = cv2.cvtColor(load_pixels(working), cv2.COLOR_RGB2GRAY)
    mask = load_mask(working)
    detector = cv2.SIFT.create(nfeatures=_NUM_KEYPOINTS, contrastThreshold=_CONTRAST_THRESHOLD)
    keypoints, raw = detector.detectAndCompute(grey, None if mask is None else mask.astype(np.uint8))
    if not keypoints:
        return Keypoints(xy=np.zeros((0, 2)), descriptors=np.zeros((0, 128), np.uint8))
    strongest_first = np.argsort([-keypoint.response for keypoint in keypoints], kind="stable")
    # OpenCV puts (0, 0) at the centre of the first pixel.
    xy = np.array([keypoint.pt for keypoint in keypoints])[strongest_first] + 0.5
    network_from_working = view.network_from_image @ np.linalg.inv(working.network_from_image)
    raw = raw[strongest_first]
    root = np.sqrt(raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-9))
    return Keypoints(
        xy=xy @ network_from_working[:2, :2].T + network_from_working[:2, 2],
        descriptors=np.clip(np.rint(root * _DESCRIPTOR_NORM), 0, 255).astype(np.uint8),
    )


def match_keypoints(keypoints1: Keypoints, keypoints2: Keypoints) -> Int64[np.ndarray, "m 2"]:
    """Match descriptors: mutual nearest neighbours that pass the ratio test in image 1; indices of both keypoints."""
    if len(keypoints1.xy) < 2 or len(keypoints2.xy) < 2:
        return np.zeros((0, 2), np.int64)
    descriptors1, descriptors2 = (each.descriptors.astype(np.float32) for each in (keypoints1, keypoints2))
    nearest, kept = [], []
    for start in range(0, len(descriptors1), _BLOCK):
        similarity = descriptors1[start : start + _BLOCK] @ descriptors2.T
        rows = np.arange(len(similarity))
        best = similarity.argmax(axis=1)
        first = similarity[rows, best]
        similarity[rows, best] = -1
        nearest.append(best)
        kept.append(_squared_distance(first) < _MAX_RATIO**2 * _squared_distance(similarity.max(axis=1)))
    index1 = np.flatnonzero(np.concatenate(kept))
    index2 = np.concatenate(nearest)[index1]
    # Only what passed the ratio test needs to be looked up in the other direction.
    back = (descriptors2[index2] @ descriptors1.T).argmax(axis=1)
    mutual = back == index1
    return np.stack([index1[mutual], index2[mutual]], axis=1)


def _squared_distance(similarity: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    return np.maximum(2 * _DESCRIPTOR_NORM**2 - 2 * similarity, 0)
