"""The points of a refined model: tracks of keypoints, those of the pointmaps where they lack, and seeds of splats."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from dust3r_sfm.colmap.camera_models import cameras_of
from dust3r_sfm.colmap.model import NO_TRACKS
from dust3r_sfm.options import TrackOptions
from dust3r_sfm.refinement.held_out import matches_outside_tracks
from dust3r_sfm.refinement.refine import Refinement
from dust3r_sfm.tracks.build import KEYPOINT_LIMITS, Colour, coloured, triangulate_matches, usual_errors
from dust3r_sfm.tracks.cameras import PosedCameras
from dust3r_sfm.tracks.spread import gap_filling, spread
from dust3r_sfm.tracks.triangulation import Points, joined
from dust3r_sfm.types import Matches, Tracks


@dataclass(frozen=True, kw_only=True)
class ModelPoints:
    """Points of a model.

    Attributes:
        tracks: points with the observations that cameras are adjusted to.
        seeds: further points of the pointmaps, without observations in the model.
    """

    tracks: Tracks
    seeds: Tracks = NO_TRACKS


def refined_points(
    refinement: Refinement,
    found: Sequence[Matches],
    options: TrackOptions,
    colour: Colour,
) -> ModelPoints:
    """Triangulate keypoint matches, and the matches of the pointmaps where an image has too few of them.

    Errors of keypoints are independent, those of pointmaps are alike in a whole region: many of them, and an adjustment
    that counts all alike follows them. So they only fill gaps, and the rest are seeds. Without any keypoint matches the
    points are those of the pointmaps.

    Args:
        refinement: refined cameras and the keypoint matches.
        found: matches of the pointmaps.
        options: limits; one for the points of tracks, another for seeds.
        colour: gives the raw original pixels of an image, by its index.
    """
    depths = refinement.depths if refinement.trust_depths else refinement.depths.forgotten()
    cameras = cameras_of(refinement.model, len(depths.depths))
    tracks = NO_TRACKS
    if refinement.matches:
        tracks = triangulate_matches(cameras, depths, refinement.matches, options, None, KEYPOINT_LIMITS)
        found = matches_outside_tracks(found, tracks)  # of a place that both found, the model can hold one point
    others = triangulate_matches(cameras, depths, found, replace(options, max_points=sys.maxsize))
    if refinement.matches:
        precise = _precise(others, tracks, cameras)
        taken = np.zeros(len(others.xyz), bool)
        taken[precise] = gap_filling(others.take(precise[others.track_of]), tracks, depths)
    else:
        taken = spread(others, depths, options.max_points)
    tracks = joined([tracks, others.take(taken[others.track_of])])
    seeds = others.take(~taken[others.track_of])
    seeds = seeds.take(spread(seeds, depths, options.seed_points)[seeds.track_of])
    both = coloured(joined([tracks, seeds]), colour)
    is_seed = both.track_of >= len(tracks.xyz)
    return ModelPoints(tracks=both.take(~is_seed), seeds=both.take(is_seed))


def _precise(others: Tracks, tracks: Tracks, cameras: PosedCameras) -> Bool[np.ndarray, " t"]:
    """Points whose observations are all as precise as the keypoints of their images, where those have any."""
    never = np.full(len(cameras.posed), KEYPOINT_LIMITS.inlier_raw_px)
    limits = usual_errors(Points.of(cameras, tracks), never)
    is_bad = Points.of(cameras, others).errors() > limits[others.image_of]
    return np.asarray(np.bincount(others.track_of, weights=is_bad, minlength=len(others.xyz)) == 0)
