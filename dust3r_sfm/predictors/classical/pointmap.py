"""From a posed pair to its two directed predictions: confidence, filling of holes, points in one frame."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, UInt8

from dust3r_sfm.geometry.transforms import apply, invert
from dust3r_sfm.predictors.classical.flow import EpipolarMap, FlowDepth, Picture, consistent, flow_depth, return_error
from dust3r_sfm.predictors.classical.lens import Lens
from dust3r_sfm.predictors.classical.pose import triangulate_pair
from dust3r_sfm.predictors.classical.sampson import CalibratedMatches, RayPairs
from dust3r_sfm.types import GUESSED, NOTHING_KNOWN, PairPrediction

_MAX_CONFIDENCE = 20.0
"""Confidence of a pixel that was measured as well as can be. Chosen by hand."""

_MAX_RETURN_NETWORK_PX = 2.5
"""Pixels further than this from where they started, after going to the other picture and back, were not measured.
Chosen by hand."""

_FULL_PARALLAX_DEGREES = 3.0
"""Angle between the rays (degrees) from which depth is as good as it gets. Chosen by hand."""

_MIN_PARALLAX_TRUST = 0.05
"""What is left of the trust in a depth without parallax. Chosen by hand."""

_MIN_NEIGHBOURS_OF_WINDOW = 0.4
"""Share of valid pixels around a valid pixel, below which it is an accident. Chosen by hand."""

_FILL_RADII_NETWORK_PX = (4, 12, 36, 108)
"""Half sides of the windows that holes are filled from. Chosen by hand."""

_SEED_RADIUS_NETWORK_PX = 4
"""Half side of the window around a match that is of its depth. Chosen by hand."""

_SEED_SCORE = 0.3
"""How well a match measures the depth around it; the flow's pixels have 0.6 and more. Chosen by hand."""

Plane = Float32[np.ndarray, "h w"]


@dataclass(frozen=True, kw_only=True)
class StereoPair:
    """Two photographs in stereo.

    Attributes:
        cam2_from_cam1: relative pose with unit translation.
        points: matches that agree with it, network pixels.
        belief: trust in the pose, 0 to 1; scales the confidence.
    """

    cam2_from_cam1: Float64[np.ndarray, "3 4"]
    points: CalibratedMatches
    belief: float


def predict_pair(
    picture1: Picture, picture2: Picture, lens1: Lens, lens2: Lens, pair: StereoPair
) -> tuple[PairPrediction, PairPrediction]:
    """Predict both directions of a pair; the photographs come without distortion, the pointmaps follow the lenses."""
    cam2_from_cam1, cam1_from_cam2 = pair.cam2_from_cam1, invert(pair.cam2_from_cam1)
    map2 = EpipolarMap(cam2_from_cam1, lens1.matrix, lens2.matrix, picture1.grey.shape)
    map1 = EpipolarMap(cam1_from_cam2, lens2.matrix, lens1.matrix, picture2.grey.shape)
    inverse1, inverse2, _ = triangulate_pair(cam2_from_cam1, RayPairs.of(pair.points, lens1, lens2))
    seeds1 = consistent(lens1.undistort(pair.points.xy1), inverse1)
    seeds2 = consistent(lens2.undistort(pair.points.xy2), inverse2)
    depth1 = flow_depth(picture1, picture2, map2, *seeds1)
    depth2 = flow_depth(picture2, picture1, map1, *seeds2)
    error1, both1 = return_error(depth1, depth2, map2, map1)
    error2, both2 = return_error(depth2, depth1, map1, map2)
    inverse1, score1 = _with_seeds(depth1.inverse, _score(depth1, error1, both1), *seeds1)
    inverse2, score2 = _with_seeds(depth2.inverse, _score(depth2, error2, both2), *seeds2)
    own1, confidence1 = _finish(picture1, lens1, cam2_from_cam1, inverse1, score1, pair.belief)
    own2, confidence2 = _finish(picture2, lens2, cam1_from_cam2, inverse2, score2, pair.belief)
    other1, other2 = apply(cam2_from_cam1, own1.reshape(-1, 3)), apply(cam1_from_cam2, own2.reshape(-1, 3))
    return (
        _scaled(own1, confidence1, other2.reshape(own2.shape), confidence2),
        _scaled(own2, confidence2, other1.reshape(own1.shape), confidence1),
    )


def failed_pair(lens1: Lens, lens2: Lens) -> PairPrediction:
    """A fronto-parallel plane at depth 1 with confidence 1 everywhere: nothing is known."""
    points1, points2 = lens1.rays(), lens2.rays()
    nothing1, nothing2 = (np.full(points.shape[:2], NOTHING_KNOWN, np.float32) for points in (points1, points2))
    return PairPrediction(points1=points1, confidence1=nothing1, points2=points2, confidence2=nothing2)


def _score(depth: FlowDepth, error: Plane, both: Bool[np.ndarray, "h w"]) -> Plane:
    """How well each pixel was measured by the flow, 0 to 1."""
    score = np.where(
        both & (error < _MAX_RETURN_NETWORK_PX), np.exp(-0.5 * (error**2 + depth.epipolar**2)), np.float32(0)
    )
    score[cv2.boxFilter((score > 0).astype(np.float32), -1, (7, 7)) < _MIN_NEIGHBOURS_OF_WINDOW] = 0
    return score


def _with_seeds(
    inverse: Plane, score: Plane, seeds: Float64[np.ndarray, "n 2"], seed_inverse: Float64[np.ndarray, " n"]
) -> tuple[Plane, Plane]:
    """Pixels around a match that the flow did not measure take its depth: wide baselines have nothing else."""
    inverse, score = inverse.copy(), score.copy()
    height, width = score.shape
    offsets = np.arange(-_SEED_RADIUS_NETWORK_PX, _SEED_RADIUS_NETWORK_PX + 1)
    column, row = np.floor(seeds).astype(np.int64).T
    rows = np.clip(row[:, None, None] + offsets[:, None], 0, height - 1)
    columns = np.clip(column[:, None, None] + offsets, 0, width - 1)
    around = np.zeros_like(inverse)
    around[rows, columns] = seed_inverse[:, None, None]
    unmeasured = (score <= 0) & (around > 0)
    inverse[unmeasured], score[unmeasured] = around[unmeasured], np.float32(_SEED_SCORE)
    return inverse, score


def _finish(
    picture: Picture,
    lens: Lens,
    other_from_cam: Float64[np.ndarray, "3 4"],
    inverse: Plane,
    score: Plane,
    belief: float,
) -> tuple[Float32[np.ndarray, "h w 3"], Plane]:
    """Give points in the picture's own camera frame, and confidences, on the picture's original (distorted) pixels."""
    inverse = _fill(inverse, score, picture.grey)
    rays, usable = lens.rays(), picture.usable
    if lens.radial:
        # Where a pinhole of the same focal length sees what each pixel sees.
        at = rays[..., :2] * lens.focals.astype(np.float32) + (lens.centre - 0.5).astype(np.float32)
        inverse = cv2.remap(inverse, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        score = cv2.remap(score, at, None, cv2.INTER_LINEAR, borderValue=0)
        usable = cv2.remap(usable.astype(np.uint8), at, None, cv2.INTER_NEAREST, borderValue=0) > 0
    points = rays / inverse[..., None]
    trust = belief * score * np.clip(_parallax(points, other_from_cam) / _FULL_PARALLAX_DEGREES, _MIN_PARALLAX_TRUST, 1)
    confidence = np.where(score > 0, NOTHING_KNOWN + (_MAX_CONFIDENCE - NOTHING_KNOWN) * trust, GUESSED)
    return points, np.where(usable, confidence, NOTHING_KNOWN).astype(np.float32)


def _parallax(
    points: Float32[np.ndarray, "h w 3"], other_from_cam: Float64[np.ndarray, "3 4"]
) -> Float32[np.ndarray, "h w"]:
    """Angle at each point between the directions to the two cameras, in degrees."""
    to_other = points - invert(other_from_cam)[:, 3].astype(np.float32)
    products = [np.einsum("hwc,hwc->hw", a, b) for a, b in ((points, to_other), (points, points), (to_other, to_other))]
    return np.asarray(np.degrees(np.arccos(np.clip(products[0] / np.sqrt(products[1] * products[2]), -1, 1))))


def _fill(inverse: Plane, score: Plane, grey: UInt8[np.ndarray, "h w"]) -> Plane:
    """Fill pixels without a score from those with one: locally linear in the grey value, over growing windows.

    This is the guided filter (He, Sun, Tang 2010) with weights; each pixel takes the smallest window that holds enough.
    """
    if not (score > 0).any():
        return inverse
    guide = grey.astype(np.float32) / 255
    filled = np.full_like(inverse, np.median(inverse[score > 0]))
    low, high = inverse[score > 0].min(), inverse[score > 0].max()
    missing = score <= 0
    for radius in _FILL_RADII_NETWORK_PX[::-1]:

        def mean(plane: Plane, side: int = 2 * radius + 1) -> Plane:
            return np.asarray(cv2.boxFilter(plane, -1, (side, side), borderType=cv2.BORDER_CONSTANT))

        weight = mean(score)
        enough = weight > 0.02
        weight = np.maximum(weight, np.float32(1e-6))
        mean_guide, mean_inverse = mean(score * guide) / weight, mean(score * inverse) / weight
        variance = mean(score * guide * guide) / weight - mean_guide**2
        covariance = mean(score * guide * inverse) / weight - mean_guide * mean_inverse
        slope = covariance / (np.maximum(variance, 0) + np.float32(1e-3))
        filled = np.where(enough, np.clip(mean_inverse + slope * (guide - mean_guide), low, high), filled)
    return np.where(missing, filled, inverse)


def _scaled(
    points1: Float32[np.ndarray, "h1 w1 3"],
    confidence1: Plane,
    points2: Float[np.ndarray, "h2 w2 3"],
    confidence2: Float32[np.ndarray, "h2 w2"],
) -> PairPrediction:
    """Scale a pair so that the median depth of image 1 is 1."""
    scale = 1 / np.median(points1[..., 2])
    return PairPrediction(
        points1=(points1 * scale).astype(np.float32),
        confidence1=confidence1,
        points2=(points2 * scale).astype(np.float32),
        confidence2=confidence2,
    )
