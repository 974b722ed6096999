"""Tracks of a scene: matches of many pairs joined, triangulated with the scene's cameras and cleared of outliers."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from dust3r_sfm.geometry.epipolar import fundamental_matrix, sampson_error
from dust3r_sfm.geometry.transforms import compose, invert
from dust3r_sfm.options import TrackOptions
from dust3r_sfm.tracks.keypoints import match_ends, unique_keypoints
from dust3r_sfm.tracks.merge import MatchGraph, merge_matches
from dust3r_sfm.tracks.triangulation import Points, first_of_each, triangulate_robustly
from dust3r_sfm.types import Matches, Scene, Tracks

_OUTLIER_FACTOR = 5.0
"""An observation with so many times the median error of its image is an outlier…"""

_SMALLEST_LIMIT = 1.0
"""…unless its error is below this many network pixels."""

_DEPTH_TOLERANCE = 0.25
"""A triangulated depth may differ from the aligned depth by this share…"""

_DEPTH_PIXELS = 2.0
"""…plus what so many pixels change at the point's triangulation angle."""

_MIN_POINTS = 100
"""Images with fewer points also get points at smaller angles, placed by the aligned depth."""

_CELL = 32
"""Side of the squares, in network pixels, that points are spread over."""


Straighten = Callable[[int, Float64[np.ndarray, "_ 2"]], Float64[np.ndarray, "_ 2"]]
"""Takes the lens distortion out of raw pixels of an image, by its index."""


def build_tracks(
    scene: Scene,
    matches: Sequence[Matches],
    options: TrackOptions,
    colour: Callable[[int], UInt8[np.ndarray, "_ _ 3"]] | None = None,
    straighten: Straighten = lambda index, xy: xy,
) -> Tracks:
    """Join matches to tracks, triangulate them, and colour the points.

    Args:
        scene: cameras and depths; images that are not registered are left out.
        matches: correspondences in raw original pixels.
        options: limits.
        colour: gives the raw original pixels of an image, by its index; without it points are black.
        straighten: removes lens distortion, for scenes whose cameras were refined with one.

    Returns:
        Tracks of at least two observations, ordered by track; possibly none.
    """
    points = _triangulated(scene, matches, options, straighten)
    points = points.select(_spread(points, options.max_points))
    return Tracks(
        xyz=points.xyz,
        rgb=np.zeros((len(points.xyz), 3), np.uint8) if colour is None else _colours(points, colour),
        track_of=points.track_of,
        image_of=points.image_of,
        xy=points.raw_xy,
    )


def _triangulated(scene: Scene, matches: Sequence[Matches], options: TrackOptions, straighten: Straighten) -> Points:
    """Join matches to tracks and triangulate them, without a limit on their number.

    Every observation of the result reprojects within `max_reprojection_error` (less where an image's other observations
    fit better) from a point in front of its camera, no track sees an image twice, and no point contradicts the aligned
    depth. Images with few points at `min_triangulation_angle` or more also have points below it, at the aligned depth.
    """
    points = _join(scene, matches, options.max_reprojection_error, straighten)
    is_wide = points.largest_angles() >= options.min_triangulation_angle
    limits = np.full(len(scene.names), options.max_reprojection_error)
    wide = triangulate_robustly(points.select(is_wide), limits)
    wide = triangulate_robustly(wide, np.minimum(limits, _usual_errors(wide)))
    wide = wide.select(wide.largest_angles() >= options.min_triangulation_angle)
    wide = wide.select(_agrees_with_depth(wide))

    poor = scene.registered & (np.bincount(wide.image_of, minlength=len(scene.names)) < _MIN_POINTS)
    narrow = points.select(~is_wide)
    narrow = narrow.select(np.bincount(narrow.track_of, weights=poor[narrow.image_of], minlength=len(narrow.xyz)) > 0)
    return wide.joined(_place_by_depth(narrow, options.max_reprojection_error))


def _join(scene: Scene, matches: Sequence[Matches], max_error: float, straighten: Straighten) -> Points:
    """Tracks of the matches that agree with the epipolar geometry of the scene's cameras; their xyz is unknown."""
    agreeing = [_agreeing(scene, pair, max_error, straighten) for pair in matches]
    keypoint_image, keypoint_xy, keypoint_of = unique_keypoints(*match_ends(agreeing))
    graph = MatchGraph(
        image_of=keypoint_image,
        matches=keypoint_of.reshape(2, -1).T,
        weights=np.concatenate([np.zeros(0), *(pair.confidence for pair in agreeing)]),
    )
    track_of = merge_matches(graph)
    order = np.argsort(track_of, kind="stable")
    order = order[track_of[order] >= 0]
    straight = keypoint_xy.copy()
    for image in np.flatnonzero(np.bincount(keypoint_image)):
        straight[keypoint_image == image] = straighten(int(image), keypoint_xy[keypoint_image == image])
    return Points(
        scene=scene,
        xyz=np.full((int(track_of.max(initial=-1)) + 1, 3), np.nan),
        track_of=track_of[order],
        image_of=keypoint_image[order],
        xy=network_from_raw(scene, keypoint_image[order], straight[order]),
        raw_xy=keypoint_xy[order],
    )


def _agreeing(scene: Scene, pair: Matches, max_error: float, straighten: Straighten) -> Matches:
    """The matches of a pair that agree with the cameras; none where an image is not registered."""
    i, j = pair.image1, pair.image2
    cam2_from_cam1 = compose(scene.cam_from_world[j], invert(scene.cam_from_world[i]))
    fundamental = fundamental_matrix(cam2_from_cam1, scene.intrinsics[i], scene.intrinsics[j])
    every = np.zeros(len(pair.xy1), dtype=np.int64)
    xy1 = network_from_raw(scene, every + i, straighten(i, pair.xy1))
    xy2 = network_from_raw(scene, every + j, straighten(j, pair.xy2))
    agree = (sampson_error(fundamental, xy1, xy2) <= max_error) & scene.registered[i] & scene.registered[j]
    return replace(pair, xy1=pair.xy1[agree], xy2=pair.xy2[agree], confidence=pair.confidence[agree])


def _usual_errors(points: Points) -> Float64[np.ndarray, " n"]:
    """Per image, the largest reprojection error that is not an outlier among its own."""
    errors = points.errors()
    usual = np.full(len(points.scene.names), np.inf)
    for image in np.flatnonzero(np.bincount(points.image_of)):
        usual[image] = max(_OUTLIER_FACTOR * float(np.median(errors[points.image_of == image])), _SMALLEST_LIMIT)
    return usual


def network_from_raw(
    scene: Scene, image_of: Int64[np.ndarray, " o"], xy: Float64[np.ndarray, "o 2"]
) -> Float64[np.ndarray, "o 2"]:
    affine = scene.network_from_image[image_of, :2]
    network: Float64[np.ndarray, "o 2"] = np.einsum("oij,oj->oi", affine[:, :, :2], xy) + affine[:, :, 2]
    return network


def network_scale(scene: Scene) -> float:
    """Network pixels per raw pixel, the median over the images."""
    return float(np.median(np.sqrt(np.abs(np.linalg.det(scene.network_from_image[:, :2, :2])))))


def _agrees_with_depth(points: Points) -> Bool[np.ndarray, " t"]:
    """Whether the typical triangulated depth of a point is near the aligned one, as far as its angle can tell."""
    aligned, _ = points.depths()
    known = np.flatnonzero(aligned > 0)
    track_of = points.track_of[known]
    difference = np.abs(np.log(points.in_cameras()[known, 2] / aligned[known]))
    order = np.lexsort((difference, track_of))
    count = np.bincount(track_of, minlength=len(points.xyz))
    lower_median = (np.cumsum(count) - count + np.maximum(count - 1, 0) // 2)[count > 0]
    typical = np.zeros(len(points.xyz))
    typical[count > 0] = difference[order][lower_median]
    focal = points.scene.intrinsics[:, 0, 0].mean()
    angle = np.maximum(np.radians(points.largest_angles()), 1e-6)
    agrees: Bool[np.ndarray, " t"] = typical <= np.log1p(_DEPTH_TOLERANCE) + _DEPTH_PIXELS / (focal * angle)
    return agrees


def _place_by_depth(points: Points, max_error: float) -> Points:
    """Put points at the aligned depth of their most confident observation, and keep the observations that agree."""
    depth, confidence = points.depths()
    points = points.keep(depth > 0)
    depth, confidence = points.depths()
    best = first_of_each(points.track_of, -confidence)
    world_from_cam = invert(points.scene.cam_from_world[points.image_of[best]])
    in_camera = points.rays()[best] * depth[best, None]
    xyz = np.einsum("tij,tj->ti", world_from_cam[:, :, :3], in_camera) + world_from_cam[:, :, 3]
    points = replace(points, xyz=xyz)
    return points.keep(points.errors() <= max_error)


def _spread(points: Points, max_points: int) -> Bool[np.ndarray, " t"]:
    """Choose the longest tracks of every square of every image, then the second longest, and so on."""
    if len(points.xyz) <= max_points:
        return np.ones(len(points.xyz), dtype=bool)
    cell = np.column_stack([points.image_of, (points.xy // _CELL).astype(np.int64)])
    cell_of = np.unique(cell, axis=0, return_inverse=True)[1].ravel()
    order = np.lexsort((-points.lengths[points.track_of], cell_of))
    start_of_cell = np.searchsorted(cell_of[order], np.arange(cell_of.max() + 1))
    rank = np.arange(len(order)) - start_of_cell[cell_of[order]]
    best_rank = np.full(len(points.xyz), len(order))
    np.minimum.at(best_rank, points.track_of[order], rank)
    chosen = np.zeros(len(points.xyz), dtype=bool)
    chosen[np.lexsort((-points.lengths, best_rank))[:max_points]] = True
    return chosen


def _colours(points: Points, colour: Callable[[int], UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "t 3"]:
    """Mean colour of the raw pixels that see each point."""
    total = np.zeros((len(points.xyz), 3))
    for image in np.flatnonzero(np.bincount(points.image_of)):
        seen = np.flatnonzero(points.image_of == image)
        pixels = colour(int(image))
        column = np.clip(points.raw_xy[seen, 0].astype(np.int64), 0, pixels.shape[1] - 1)
        row = np.clip(points.raw_xy[seen, 1].astype(np.int64), 0, pixels.shape[0] - 1)
        total[points.track_of[seen]] += pixels[row, column]
    mean: UInt8[np.ndarray, "t 3"] = np.round(total / points.lengths[:, None]).astype(np.uint8)
    return mean
