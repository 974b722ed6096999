"""Tracks of posed cameras: matches of many pairs joined, triangulated and cleared of outliers, all in raw pixels."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from dust3r_sfm.geometry.epipolar import fundamental_matrix, sampson_error
from dust3r_sfm.geometry.transforms import invert
from dust3r_sfm.options import TrackOptions
from dust3r_sfm.tracks.cameras import PosedCameras, posed_cameras
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.tracks.keypoints import match_ends, unique_keypoints
from dust3r_sfm.tracks.merge import MatchGraph, merge_matches
from dust3r_sfm.tracks.triangulation import Points, first_of_each, triangulate_robustly
from dust3r_sfm.types import Matches, Scene, Tracks

_OUTLIER_MEDIANS = 5.0
"""An observation with so many times the median error of its image is an outlier; chosen by hand."""

_INLIER_NETWORK_PX = 1.0
"""Errors of fewer network pixels are never outliers; chosen by hand."""

_DEPTH_TOLERANCE_OF_DEPTH = 0.25
"""A triangulated depth may differ from the aligned depth by this share; chosen by hand."""

_DEPTH_TOLERANCE_NETWORK_PX = 2.0
"""Beside that, by what so many network pixels change at the point's triangulation angle; chosen by hand."""

_MIN_POINTS = 100
"""Images with fewer points also get points at smaller angles, placed by the aligned depth; chosen by hand."""

_CELL_NETWORK_PX = 32
"""Side of the squares, in network pixels, that points are spread over; chosen by hand."""

Colour = Callable[[int], UInt8[np.ndarray, "_ _ 3"]]
"""Gives the raw original pixels of an image, by its index."""


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
    max_error_raw_px: float = np.inf,
) -> Tracks:
    """`build_tracks` for any cameras, distorted ones included.

    Args:
        cameras: in raw pixels; images that are not posed are left out.
        depths: which points may not contradict, and which say how large a network pixel is.
        matches: correspondences in raw original pixels.
        options: limits.
        colour: gives the raw original pixels of an image, by its index; without it points are black.
        max_error_raw_px: largest reprojection error of an observation where that of the options is larger.

    Returns:
        Tracks of at least two observations, ordered by track; possibly none.
    """
    limits = np.minimum(options.max_reprojection_error * depths.raw_per_network, max_error_raw_px)
    points = _triangulated(cameras, depths, matches, limits, options.min_triangulation_angle)
    tracks = points.select(_spread(points, depths, options.max_points)).tracks
    return tracks if colour is None else replace(tracks, rgb=_colours(tracks, colour))


def _triangulated(
    cameras: PosedCameras,
    depths: AlignedDepths,
    matches: Sequence[Matches],
    limits: Float64[np.ndarray, " n"],
    min_angle: float,
) -> Points:
    """Join matches to tracks and triangulate them, without a limit on their number.

    Every observation of the result reprojects within its image's limit in raw pixels (less where an image's other
    observations fit better) from a point in front of its camera, no track sees an image twice, and no point contradicts
    the aligned depth. Images with few points at `min_angle` or more also have points below it, at the aligned depth.
    """
    points = _join(cameras, matches, limits)
    is_wide = points.largest_angles() >= min_angle
    wide = triangulate_robustly(points.select(is_wide), limits)
    wide = triangulate_robustly(wide, np.minimum(limits, _usual_errors(wide, depths)))
    wide = wide.select(wide.largest_angles() >= min_angle)
    wide = wide.select(_agrees_with_depth(wide, depths))

    poor = cameras.posed & (np.bincount(wide.image_of, minlength=len(cameras.posed)) < _MIN_POINTS)
    narrow = points.select(~is_wide)
    narrow = narrow.select(np.bincount(narrow.track_of, weights=poor[narrow.image_of], minlength=len(narrow)) > 0)
    return wide.joined(_place_by_depth(narrow, depths, limits))


def _join(cameras: PosedCameras, matches: Sequence[Matches], limits: Float64[np.ndarray, " n"]) -> Points:
    """Tracks of the matches that agree with the epipolar geometry of the cameras; their xyz is unknown."""
    agreeing = [_agreeing(cameras, pair, limits) for pair in matches]
    keypoint_image, keypoint_xy, keypoint_of = unique_keypoints(*match_ends(agreeing))
    graph = MatchGraph(
        image_of=keypoint_image,
        matches=keypoint_of.reshape(2, -1).T,
        weights=np.concatenate([np.zeros(0), *(pair.confidence for pair in agreeing)]),
    )
    track_of = merge_matches(graph)
    order = np.argsort(track_of, kind="stable")
    order = order[track_of[order] >= 0]
    undistorted = keypoint_xy.copy()
    for image in np.unique(keypoint_image).tolist():
        undistorted[keypoint_image == image] = cameras.undistort(image, keypoint_xy[keypoint_image == image])
    num_tracks = int(track_of.max(initial=-1)) + 1
    tracks = Tracks(
        xyz=np.full((num_tracks, 3), np.nan),
        rgb=np.zeros((num_tracks, 3), np.uint8),
        track_of=track_of[order],
        image_of=keypoint_image[order],
        xy=keypoint_xy[order],
    )
    return Points(cameras=cameras, tracks=tracks, xy=undistorted[order])


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


def _usual_errors(points: Points, depths: AlignedDepths) -> Float64[np.ndarray, " n"]:
    """Per image, the largest reprojection error that is not an outlier among its own, in raw pixels."""
    errors = points.errors()
    usual = np.full(len(points.cameras.posed), np.inf)
    for image in np.unique(points.image_of).tolist():
        median = float(np.median(errors[points.image_of == image]))
        usual[image] = max(_OUTLIER_MEDIANS * median, _INLIER_NETWORK_PX * depths.raw_per_network[image])
    return usual


def _agrees_with_depth(points: Points, depths: AlignedDepths) -> Bool[np.ndarray, " t"]:
    """Whether the typical triangulated depth of a point is near the aligned one, as far as its angle can tell."""
    if len(points) == 0:
        return np.zeros(0, bool)
    aligned, _ = depths.of_observations(points.image_of, points.tracks.xy)
    known = np.flatnonzero(aligned > 0)
    track_of = points.track_of[known]
    difference = np.abs(np.log(points.in_cameras()[known, 2] / aligned[known]))
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


def _spread(points: Points, depths: AlignedDepths, max_points: int) -> Bool[np.ndarray, " t"]:
    """Choose the longest tracks of every square of every image, then the second longest, and so on."""
    if len(points) <= max_points:
        return np.ones(len(points), dtype=bool)
    side = _CELL_NETWORK_PX * depths.raw_per_network[points.image_of]
    cell = np.column_stack([points.image_of, (points.tracks.xy // side[:, None]).astype(np.int64)])
    cell_of = np.unique(cell, axis=0, return_inverse=True)[1].ravel()
    order = np.lexsort((-points.lengths[points.track_of], cell_of))
    start_of_cell = np.searchsorted(cell_of[order], np.arange(cell_of.max() + 1))
    rank = np.arange(len(order)) - start_of_cell[cell_of[order]]
    best_rank = np.full(len(points), len(order))
    np.minimum.at(best_rank, points.track_of[order], rank)
    chosen = np.zeros(len(points), dtype=bool)
    chosen[np.lexsort((-points.lengths, best_rank))[:max_points]] = True
    return chosen


def _colours(tracks: Tracks, colour: Colour) -> UInt8[np.ndarray, "t 3"]:
    """Mean colour of the raw pixels that see each point."""
    total = np.zeros((len(tracks.xyz), 3))
    for image in np.unique(tracks.image_of).tolist():
        seen = np.flatnonzero(tracks.image_of == image)
        pixels = colour(image)
        column = np.clip(tracks.xy[seen, 0].astype(np.int64), 0, pixels.shape[1] - 1)
        row = np.clip(tracks.xy[seen, 1].astype(np.int64), 0, pixels.shape[0] - 1)
        total[tracks.track_of[seen]] += pixels[row, column]
    lengths = np.bincount(tracks.track_of, minlength=len(tracks.xyz))
    mean: UInt8[np.ndarray, "t 3"] = np.round(total / lengths[:, None]).astype(np.uint8)
    return mean
