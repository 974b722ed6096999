"""Tracks of posed cameras: matches of many pairs joined, triangulated and cleared of outliers, all in raw pixels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from dust3r_sfm.geometry.epipolar import fundamental_matrix, sampson_error
from dust3r_sfm.geometry.transforms import invert
from dust3r_sfm.options import TrackOptions
from dust3r_sfm.tracks.cameras import PosedCameras, posed_cameras
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.tracks.merge import tracks_of
from dust3r_sfm.tracks.spread import spread
from dust3r_sfm.tracks.triangulation import Points, first_of_each, triangulate_robustly
from dust3r_sfm.types import Matches, Scene, Tracks

_OUTLIER_MEDIANS, _KEYPOINT_OUTLIER_MEDIANS = 5.0, 4.0
"""An observation with so many times the median error of its image is an outlier, of pointmaps and of keypoints: it
would pull at the cameras in an adjustment without a robust loss; chosen by hand."""

_INLIER_NETWORK_PX = 1.0
"""Errors of fewer network pixels are never outliers of the pointmaps; chosen by hand."""

_DEPTH_TOLERANCE_OF_DEPTH = 0.25
"""A triangulated depth may differ from the aligned depth by this share; chosen by hand."""

_DEPTH_TOLERANCE_NETWORK_PX = 2.0
"""Beside that, by what so many network pixels change at the point's triangulation angle; chosen by hand."""

_COMMON_LOG_DEPTH = np.log(2.0)
"""Depths may all be off by such a factor, as where photographs look straight at a plane and the focal length is open;
chosen by hand."""

_MIN_POINTS = 100
"""Images with fewer points also get points at smaller angles, placed by the aligned depth; chosen by hand."""

_KEYPOINT_RAW_PX, _KEYPOINT_INLIER_RAW_PX = 4.0, 0.25
"""Largest reprojection error of a keypoint, COLMAP's default, and what is never an outlier; chosen by hand."""

Colour = Callable[[int], UInt8[np.ndarray, "_ _ 3"]]
"""Gives the raw original pixels of an image, by its index."""


@dataclass(frozen=True, kw_only=True)
class ErrorLimits:
    """What precision an observation can have in raw pixels, where a network pixel is larger.

    Attributes:
        largest_raw_px: larger reprojection errors are wrong.
        inlier_raw_px: smaller ones are never outliers.
        outlier_medians: those with so many times the median error of their image are.
    """

    largest_raw_px: float = np.inf
    inlier_raw_px: float = np.inf
    outlier_medians: float = _OUTLIER_MEDIANS


POINTMAP_LIMITS = ErrorLimits()
"""Matches of pointmaps are as precise as network pixels."""

KEYPOINT_LIMITS = ErrorLimits(
    largest_raw_px=_KEYPOINT_RAW_PX,
    inlier_raw_px=_KEYPOINT_INLIER_RAW_PX,
    outlier_medians=_KEYPOINT_OUTLIER_MEDIANS,
)
"""Keypoints are as precise as raw pixels."""


def build_tracks(
    scene: Scene, matches: Sequence[Matches], options: TrackOptions, colour: Colour | None = None
) -> Tracks:
    """Join matches to tracks, triangulate them with the cameras of a scene, and colour the points.

    Args:
        scene: cameras and depths; images that are not registered are left out.
        matches: correspondences in raw original pixels.
        options: limits.
        colour: gives the raw original pixels of an image, by its index; without it points are black.

    Returns:
        Tracks of at least two observations, ordered by track; possibly none.
    """
    return triangulate_matches(posed_cameras(scene), AlignedDepths.of(scene), matches, options, colour)


def triangulate_matches(
    cameras: PosedCameras,
    depths: AlignedDepths,
    matches: Sequence[Matches],
    options: TrackOptions,
    colour: Colour | None = None,
    errors: ErrorLimits = POINTMAP_LIMITS,
) -> Tracks:
    """`build_tracks` for any cameras, distorted ones included.

    Args:
        cameras: in raw pixels; images that are not posed are left out.
        depths: which points may not contradict, and which say how large a network pixel is.
        matches: correspondences in raw original pixels.
        options: limits.
        colour: gives the raw original pixels of an image, by its index; without it points are black.
        errors: precision of the observations.

    Returns:
        Tracks of at least two observations, ordered by track; possibly none.
    """
    points = _triangulated(cameras, depths, matches, errors, options)
    tracks = points.select(spread(points.tracks, depths, options.max_points)).tracks
    return tracks if colour is None else coloured(tracks, colour)


def _triangulated(
    cameras: PosedCameras,
    depths: AlignedDepths,
    matches: Sequence[Matches],
    errors: ErrorLimits,
    options: TrackOptions,
) -> Points:
    """Join matches to tracks and triangulate them, without a limit on their number.

    Every observation of the result reprojects within its image's limit (less where an image's other observations fit
    better) from a point in front of its camera, no track sees an image twice, and no point contradicts the aligned
    depth. Images with few points at the least angle or more also have points below it, at the aligned depth.
    """
    limits = np.minimum(options.max_reprojection_error * depths.raw_per_network, errors.largest_raw_px)
    never = np.minimum(_INLIER_NETWORK_PX * depths.raw_per_network, errors.inlier_raw_px)
    min_angle = options.min_triangulation_angle
    points = _join(cameras, matches, limits)
    is_wide = points.largest_angles() >= min_angle
    wide = triangulate_robustly(points.select(is_wide), limits)
    wide = triangulate_robustly(wide, np.minimum(limits, usual_errors(wide, never, errors)))
    wide = wide.select(wide.largest_angles() >= min_angle)
    wide = wide.select(_agrees_with_depth(wide, depths))

    poor = cameras.posed & (np.bincount(wide.image_of, minlength=len(cameras.posed)) < _MIN_POINTS)
    narrow = points.select(~is_wide)
    narrow = narrow.select(np.bincount(narrow.track_of, weights=poor[narrow.image_of], minlength=len(narrow)) > 0)
    return wide.joined(_place_by_depth(narrow, depths, limits))


def _join(cameras: PosedCameras, matches: Sequence[Matches], limits: Float64[np.ndarray, " n"]) -> Points:
    """Tracks of the matches that agree with the epipolar geometry of the cameras; their xyz is unknown."""
    return Points.of(cameras, tracks_of([_agreeing(cameras, pair, limits) for pair in matches]))


def _agreeing(cameras: PosedCameras, pair: Matches, limits: Float64[np.ndarray, " n"]) -> Matches:
    """The matches of a pair that agree with the cameras; none where an image is not posed."""
    i, j = pair.image1, pair.image2
    if not (cameras.posed[i] and cameras.posed[j]):
        return pair.take(np.zeros(len(pair.xy1), bool))
    fundamental = fundamental_matrix(cameras.relative(i, j), cameras.matrices[i], cameras.matrices[j])
    error = sampson_error(fundamental, cameras.undistort(i, pair.xy1), cameras.undistort(j, pair.xy2))
    # The Sampson error of a match that is off by its limit in both images, relative to two equal limits.
    limit = np.sqrt(2.0 / np.sum(1.0 / limits[[i, j]] ** 2))
    return pair.take(error <= limit)


def usual_errors(
    points: Points, never: Float64[np.ndarray, " n"], limits: ErrorLimits = KEYPOINT_LIMITS
) -> Float64[np.ndarray, " n"]:
    """Give the largest error of each image that is not an outlier among its own; infinite without any.

    Args:
        points: with their observations.
        never: errors that are none in any case, in raw pixels.
        limits: say how many medians are too many.
    """
    errors = points.errors()
    usual = np.full(len(points.cameras.posed), np.inf)
    for image in np.unique(points.image_of).tolist():
        median = float(np.median(errors[points.image_of == image]))
        usual[image] = max(limits.outlier_medians * median, never[image])
    return usual


def _agrees_with_depth(points: Points, depths: AlignedDepths) -> Bool[np.ndarray, " t"]:
    """Whether the typical triangulated depth of a point is near the aligned one, as far as its angle can tell.

    A common factor of all depths, within bounds, contradicts none of them.
    """
    if len(points) == 0:
        return np.zeros(0, bool)
    aligned, _ = depths.of_observations(points.image_of, points.tracks.xy)
    known = np.flatnonzero(aligned > 0)
    track_of = points.track_of[known]
    difference = np.log(points.in_cameras()[known, 2] / aligned[known])
    common = float(np.median(difference)) if len(known) else 0.0
    difference = np.abs(difference - np.clip(common, -_COMMON_LOG_DEPTH, _COMMON_LOG_DEPTH))
    order = np.lexsort((difference, track_of))
    count = np.bincount(track_of, minlength=len(points))
    lower_median = (np.cumsum(count) - count + np.maximum(count - 1, 0) // 2)[count > 0]
    typical = np.zeros(len(points))
    typical[count > 0] = difference[order][lower_median]
    posed = points.cameras.posed
    focal_network_px = (points.cameras.matrices[posed, 0, 0] / depths.raw_per_network[posed]).mean()
    angle = np.maximum(np.radians(points.largest_angles()), 1e-6)
    tolerance = np.log1p(_DEPTH_TOLERANCE_OF_DEPTH) + _DEPTH_TOLERANCE_NETWORK_PX / (focal_network_px * angle)
    agrees: Bool[np.ndarray, " t"] = typical <= tolerance
    return agrees


def _place_by_depth(points: Points, depths: AlignedDepths, limits: Float64[np.ndarray, " n"]) -> Points:
    """Put points at the aligned depth of their most confident observation, and keep the observations that agree."""
    points = points.keep(depths.of_observations(points.image_of, points.tracks.xy)[0] > 0)
    depth, confidence = depths.of_observations(points.image_of, points.tracks.xy)
    best = first_of_each(points.track_of, -confidence)
    world_from_cam = invert(points.cameras.cam_from_world[points.image_of[best]])
    in_camera = points.rays()[best] * depth[best, None]
    points = points.moved(np.einsum("tij,tj->ti", world_from_cam[:, :, :3], in_camera) + world_from_cam[:, :, 3])
    return points.keep(points.errors() <= limits[points.image_of])


def coloured(tracks: Tracks, colour: Colour) -> Tracks:
    """Give each point the mean colour of the raw pixels that see it."""
    total = np.zeros((len(tracks.xyz), 3))
    for image in np.unique(tracks.image_of).tolist():
        seen = np.flatnonzero(tracks.image_of == image)
        pixels = colour(image)
        column = np.clip(tracks.xy[seen, 0].astype(np.int64), 0, pixels.shape[1] - 1)
        row = np.clip(tracks.xy[seen, 1].astype(np.int64), 0, pixels.shape[0] - 1)
        total[tracks.track_of[seen]] += pixels[row, column]
    lengths = np.bincount(tracks.track_of, minlength=len(tracks.xyz))
    return replace(tracks, rgb=np.round(total / lengths[:, None]).astype(np.uint8))
