"""Relative pose of two photographs from their matches: candidates, refinement, and how far to believe them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.geometry.transforms import invert, rotation_angle
from dust3r_sfm.predictors.classical.lens import Lens
from dust3r_sfm.predictors.classical.sampson import CalibratedMatches, RayPairs, refine_pose, sampson_distances
from dust3r_sfm.predictors.classical.turning import is_turn

if TYPE_CHECKING:
    import pycolmap

MAX_ERROR_NETWORK_PX = 1.5
"""Largest Sampson distance of an inlier in network pixels: three times the noise scale. Chosen by hand."""

_MIN_INLIERS = 30
"""Matches that agree with a pose of stereo, at least. Chosen by hand."""

_MIN_INLIERS_KNOWN = 12
"""The same where the pose is known, and the matches only have to guide the flow. Chosen by hand."""

_MIN_PARALLAX_DEGREES = 0.5
"""Median angle between the two rays of an inlier, in degrees, below which a pair has no usable baseline. Chosen by
hand."""

_MIN_TRIALS, _MAX_TRIALS = 100, 3000
"""Samples of a robust estimate, at least and at most. Chosen by hand."""

_SAME_ROTATION_DEGREES = 2.0
"""Angle between the rotations of two candidates below which they may be one. Chosen by hand."""

_SAME_DIRECTION_DEGREES = 10.0
"""Angle between their translations below which they are. Chosen by hand."""

_ON_PLANE_OF_INLIERS = 0.9
"""Share of a pair's inliers that a homography must explain before the pair can be a camera that only turned. Chosen by
hand."""

_PROMISING_OF_BEST = 0.3
"""Candidates with less than this share of the best one's score before refinement are dropped. Chosen by hand."""

_TIE_OF_BEST = 0.95
"""Share of the best score from which hypotheses are equally good. Chosen by hand, looking at such ties of eight photo
sets; all but six of them were fox's."""

_CLEARLY_OF_COSINE = 0.2
"""How much more a plane must face the cameras in one pose than in another to decide between them. Chosen by hand."""

_NEAR_OF_MEDIAN = 4.0
"""Distance from the middle of a cloud, over the median one, from which a point says nothing of its plane. Chosen by
hand."""


@dataclass(frozen=True, kw_only=True)
class PosedPair:
    """One hypothesis about a pair.

    Attributes:
        cam2_from_cam1: relative pose; the translation has length 1.
        inlier: which of the pair's matches agree with it and lie in front of both cameras.
        score: sum over the inliers of 1 - (distance / MAX_ERROR_NETWORK_PX)², the truncated quadratic score.
        parallax: median angle between the rays of an inlier, degrees.
    """

    cam2_from_cam1: Float64[np.ndarray, "3 4"]
    inlier: Bool[np.ndarray, " m"]
    score: float
    parallax: float

    @property
    def num_inliers(self) -> int:
        return int(self.inlier.sum())

    @property
    def usable(self) -> bool:
        """Enough support and enough baseline for stereo."""
        return self.num_inliers >= _MIN_INLIERS and self.parallax >= _MIN_PARALLAX_DEGREES


def estimate_poses(points: CalibratedMatches, lens1: Lens, lens2: Lens, seed: int) -> list[PosedPair]:
    """Find the distinct refined hypotheses about a pair, most plausible first; empty when nothing was found.

    Hypotheses come from the essential matrix (LO-RANSAC of pycolmap) and from a homography, which a mostly planar
    scene determines better; each is refined over all matches by the robust Sampson cost. Nothing is found when a
    rotation of the camera on the spot explains the matches.
    """
    if len(points) < _MIN_INLIERS:
        return []
    rays = RayPairs.of(points, lens1, lens2)
    homography, num_on_plane = _homography(points, lens1, lens2, seed)
    starts = _essential_poses(points, lens1, lens2, seed)
    if num_on_plane >= _MIN_INLIERS // 2:
        starts += _homography_poses(homography)
    scored = _distinct([score_pose(start, rays) for start in starts])
    if not scored or (
        num_on_plane >= _ON_PLANE_OF_INLIERS * scored[0].num_inliers and is_turn(homography, lens1, lens2)
    ):
        return []
    promising = [each for each in scored if each.score > _PROMISING_OF_BEST * scored[0].score]
    refined = _distinct([refine_hypothesis(each.cam2_from_cam1, rays) for each in promising])
    return _facing_first(refined, rays)


def find_turn(points: CalibratedMatches, lens1: Lens, lens2: Lens, seed: int) -> Float64[np.ndarray, "3 3"] | None:
    """The homography of the rays of a pair that only turned; None for others, and for too few matches."""
    if len(points) < _MIN_INLIERS:
        return None
    homography, num_on_plane = _homography(points, lens1, lens2, seed)
    return homography if num_on_plane >= _MIN_INLIERS and is_turn(homography, lens1, lens2) else None


def known_pose(
    cam2_from_cam1: Float64[np.ndarray, "3 4"], points: CalibratedMatches, lens1: Lens, lens2: Lens
) -> list[PosedPair]:
    """Give the only hypothesis about a pair of known pose; nothing without the matches or the baseline for stereo."""
    if len(points) < _MIN_INLIERS_KNOWN or not cam2_from_cam1[:, 3].any():
        return []
    posed = score_pose(_unit(cam2_from_cam1), RayPairs.of(points, lens1, lens2))
    return [posed] if posed.num_inliers >= _MIN_INLIERS_KNOWN and posed.parallax >= _MIN_PARALLAX_DEGREES else []


def refine_hypothesis(cam2_from_cam1: Float64[np.ndarray, "3 4"], rays: RayPairs) -> PosedPair:
    """Refine a pose over the matches near it, twice (the second time over the matches near the first result)."""
    for reach in (3 * MAX_ERROR_NETWORK_PX, 2 * MAX_ERROR_NETWORK_PX):
        near = np.abs(sampson_distances(cam2_from_cam1, rays)) < reach
        if near.sum() >= 8:
            cam2_from_cam1 = refine_pose(cam2_from_cam1, rays.subset(near))
    return score_pose(cam2_from_cam1, rays)


def score_pose(cam2_from_cam1: Float64[np.ndarray, "3 4"], rays: RayPairs) -> PosedPair:
    """Measure how well the matches support a pose."""
    distances = sampson_distances(cam2_from_cam1, rays)
    inverse1, inverse2, angles = triangulate_pair(cam2_from_cam1, rays)
    inlier = (np.abs(distances) < MAX_ERROR_NETWORK_PX) & (inverse1 > 0) & (inverse2 > 0)
    return PosedPair(
        cam2_from_cam1=cam2_from_cam1,
        inlier=inlier,
        score=float((1 - (distances[inlier] / MAX_ERROR_NETWORK_PX) ** 2).sum()),
        parallax=float(np.median(angles[inlier])) if inlier.any() else 0.0,
    )


def triangulate_pair(
    cam2_from_cam1: Float64[np.ndarray, "3 4"], rays: RayPairs
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """Triangulate correspondences at the closest approach of their rays.

    Returns:
        Inverse depths in camera 1 and in camera 2 (units of the baseline; negative behind the camera) and the angles
        between the rays in degrees.
    """
    ray1, ray2 = rays.ray1 @ cam2_from_cam1[:, :3].T, rays.ray2
    baseline = cam2_from_cam1[:, 3]
    # Least squares of depth1 ray1 + baseline = depth2 ray2; the determinant is the squared sine of the angle, scaled.
    a, b, c = (ray1**2).sum(1), (ray1 * ray2).sum(1), (ray2**2).sum(1)
    d, e = ray1 @ baseline, ray2 @ baseline
    determinant = np.maximum(a * c - b * b, 1e-18)
    scaled1, scaled2 = b * e - c * d, a * e - b * d
    with np.errstate(divide="ignore"):
        inverse1, inverse2 = determinant / scaled1, determinant / scaled2
    angles = np.degrees(np.arctan2(np.sqrt(determinant), b))
    return inverse1, inverse2, angles


def _facing_first(ranked: list[PosedPair], rays: RayPairs) -> list[PosedPair]:
    """Put the hypothesis first that clearly faces what it sees, of those that are as good as the best.

    Two poses explain a plane about equally well; people photograph surfaces that face them.
    """
    tied = [each for each in ranked if each.score > _TIE_OF_BEST * ranked[0].score]
    if len(tied) < 2:
        return ranked
    facing = [_facing(each, rays) for each in tied]
    most = int(np.argmax(facing))
    if facing[most] <= facing[0] + _CLEARLY_OF_COSINE:
        return ranked
    return [ranked[most], *ranked[:most], *ranked[most + 1 :]]


def _facing(posed: PosedPair, rays: RayPairs) -> float:
    """How much the plane of a pair's points faces the camera that sees it more obliquely: 0 at grazing angle, to 1."""
    inliers = rays.subset(posed.inlier)
    inverse1, _, _ = triangulate_pair(posed.cam2_from_cam1, inliers)
    points = inliers.ray1 / inverse1[:, None]
    distance = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    near = points[distance <= _NEAR_OF_MEDIAN * np.median(distance)]
    middle = near.mean(axis=0)
    normal = np.linalg.svd(near - middle, full_matrices=False)[2][2]
    views = middle - np.stack([np.zeros(3), invert(posed.cam2_from_cam1)[:, 3]])
    return float((np.abs(views @ normal) / np.linalg.norm(views, axis=1)).min())


def _distinct(hypotheses: list[PosedPair]) -> list[PosedPair]:
    """Sort by score and drop what has no support or repeats a better one."""
    distinct: list[PosedPair] = []
    for hypothesis in sorted(hypotheses, key=lambda each: -each.score):
        if hypothesis.num_inliers and not any(
            _same(hypothesis.cam2_from_cam1, kept.cam2_from_cam1) for kept in distinct
        ):
            distinct.append(hypothesis)
    return distinct


def ransac_options(max_error: float, seed: int) -> "pycolmap.RANSACOptions":
    """Options of pycolmap's robust estimators: `max_error` in network pixels, reproducible by `seed`."""
    from dust3r_sfm.system._pycolmap import pycolmap

    options = pycolmap.RANSACOptions()
    options.max_error = max_error
    options.min_num_trials = _MIN_TRIALS
    options.max_num_trials = _MAX_TRIALS
    options.random_seed = seed
    return options


def _essential_poses(points: CalibratedMatches, lens1: Lens, lens2: Lens, seed: int) -> list[np.ndarray]:
    from dust3r_sfm.system._pycolmap import pycolmap

    camera1, camera2 = _camera(lens1), _camera(lens2)
    xy1, xy2 = lens1.undistort(points.xy1), lens2.undistort(points.xy2)
    estimate = pycolmap.estimate_relative_pose(camera1, xy1, camera2, xy2, ransac_options(MAX_ERROR_NETWORK_PX, seed))
    return [] if estimate is None else [_unit(estimate["cam2_from_cam1"].matrix())]


def _homography(
    points: CalibratedMatches, lens1: Lens, lens2: Lens, seed: int
) -> tuple[Float64[np.ndarray, "3 3"], int]:
    """Find the homography between the rays of most matches, and how many those are (LO-RANSAC of pycolmap)."""
    from dust3r_sfm.system._pycolmap import pycolmap

    xy1, xy2 = lens1.undistort(points.xy1), lens2.undistort(points.xy2)
    estimate = pycolmap.estimate_homography_matrix(xy1, xy2, ransac_options(2 * MAX_ERROR_NETWORK_PX, seed))
    if estimate is None:
        return np.eye(3), 0
    return np.linalg.inv(lens2.matrix) @ estimate["H"] @ lens1.matrix, int(estimate["num_inliers"])


def _homography_poses(homography: Float64[np.ndarray, "3 3"]) -> list[np.ndarray]:
    import cv2

    _, rotations, translations, _ = cv2.decomposeHomographyMat(homography, np.eye(3))
    return [
        _unit(np.column_stack([rotation, translation.ravel()]))
        for rotation, translation in zip(rotations, translations, strict=True)
        if np.linalg.norm(translation) > 1e-6
    ]


def _camera(lens: Lens) -> "pycolmap.Camera":
    from dust3r_sfm.system._pycolmap import pycolmap

    width, height = lens.size
    return pycolmap.Camera(model="PINHOLE", width=width, height=height, params=[*lens.focals, *lens.centre])


def _unit(cam2_from_cam1: np.ndarray) -> Float64[np.ndarray, "3 4"]:
    scaled = np.array(cam2_from_cam1, np.float64)
    scaled[:, 3] /= max(float(np.linalg.norm(scaled[:, 3])), 1e-12)
    return scaled


def _same(first: Float64[np.ndarray, "3 4"], second: Float64[np.ndarray, "3 4"]) -> bool:
    direction = np.degrees(np.arccos(np.clip(first[:, 3] @ second[:, 3], -1, 1)))
    rotation = float(rotation_angle(first[:, :3] @ second[:, :3].T))
    return bool(rotation < _SAME_ROTATION_DEGREES and direction < _SAME_DIRECTION_DEGREES)
