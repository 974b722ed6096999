"""The points of a refined model: keypoints, and the pointmaps' matches triangulated once more with its cameras."""

from collections.abc import Sequence
from dataclasses import replace

from dust3r_sfm.colmap.camera_models import cameras_of
from dust3r_sfm.options import TrackOptions
from dust3r_sfm.refinement.held_out import matches_outside_tracks
from dust3r_sfm.refinement.refine import Refinement
from dust3r_sfm.tracks.build import Colour, triangulate_matches
from dust3r_sfm.tracks.triangulation import joined
from dust3r_sfm.types import Matches, Tracks

_KEYPOINT_ERROR_RAW_PX = 4.0
"""Largest reprojection error of a keypoint; COLMAP's default."""


def refined_tracks(
    refinement: Refinement,
    found: Sequence[Matches],
    options: TrackOptions,
    colour: Colour,
) -> Tracks:
    """Triangulate keypoint matches, and fill the points budget with the matches of the pointmaps.

    Args:
        refinement: refined cameras and the keypoint matches.
        found: matches of the pointmaps.
        options: limits; the budget is for both together.
        colour: gives the raw original pixels of an image, by its index.
    """
    depths = refinement.depths if refinement.trust_depths else refinement.depths.forgotten()
    cameras = cameras_of(refinement.model, len(depths.depths))
    tracks = []
    if refinement.matches:
        tracks.append(triangulate_matches(cameras, depths, refinement.matches, options, colour, _KEYPOINT_ERROR_RAW_PX))
        found = matches_outside_tracks(found, tracks[0])  # of a place that both found, the model can hold one point
    left = options.max_points - sum(len(part.xyz) for part in tracks)
    if left > 0:
        tracks.append(triangulate_matches(cameras, depths, found, replace(options, max_points=left), colour))
    return joined(tracks)
