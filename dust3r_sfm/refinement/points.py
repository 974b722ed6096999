"""The points of a refined model: keypoints, and the pointmaps' matches triangulated once more with its cameras."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from dust3r_sfm.colmap.camera_models import straighten_with
from dust3r_sfm.options import TrackOptions
from dust3r_sfm.refinement.estimate import without_depths
from dust3r_sfm.refinement.refine import Refinement
from dust3r_sfm.tracks.build import build_tracks, network_scale
from dust3r_sfm.types import Matches, Tracks

_KEYPOINT_ERROR = 4.0
"""Largest reprojection error of a keypoint in raw pixels, as in COLMAP."""


def refined_tracks(
    refinement: Refinement,
    found: Sequence[Matches],
    options: TrackOptions,
    colour: Callable[[int], UInt8[np.ndarray, "_ _ 3"]],
) -> Tracks:
    """Triangulate keypoint matches, and fill the points budget with the matches of the pointmaps.

    Args:
        refinement: refined cameras and the keypoint matches.
        found: matches of the pointmaps.
        options: limits; the budget is for both together.
        colour: gives the raw original pixels of an image, by its index.
    """
    straighten = straighten_with(refinement.model)
    scene = refinement.scene if refinement.trust_depths else without_depths(refinement.scene)
    tracks = []
    if refinement.matches:
        limit = min(options.max_reprojection_error, _KEYPOINT_ERROR * network_scale(scene))
        precise = replace(options, max_reprojection_error=limit)
        tracks.append(build_tracks(scene, refinement.matches, precise, colour, straighten))
    left = options.max_points - sum(len(part.xyz) for part in tracks)
    if left > 0:
        tracks.append(build_tracks(scene, found, replace(options, max_points=left), colour, straighten))
    return joined(tracks)


def joined(parts: Sequence[Tracks]) -> Tracks:
    """Put tables of tracks behind one another."""
    starts = np.cumsum([0, *(len(part.xyz) for part in parts)])
    return Tracks(
        xyz=np.concatenate([part.xyz for part in parts]),
        rgb=np.concatenate([part.rgb for part in parts]),
        track_of=np.concatenate([part.track_of + start for part, start in zip(parts, starts[:-1], strict=True)]),
        image_of=np.concatenate([part.image_of for part in parts]),
        xy=np.concatenate([part.xy for part in parts]),
    )
