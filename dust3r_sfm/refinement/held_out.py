"""Matches that an adjustment was not shown, and how well its cameras agree with them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.colmap.camera_models import straighten_with
from dust3r_sfm.colmap.model import Reconstruction
from dust3r_sfm.geometry.epipolar import fundamental_matrix, sampson_error
from dust3r_sfm.tracks.keypoints import keypoint_rows, match_ends, unique_keypoints
from dust3r_sfm.tracks.merge import MatchGraph, merge_matches
from dust3r_sfm.types import Matches, Tracks

_HELD_OUT = 10
"""One track of so many is kept for judging."""

_MAX_ERROR = 4.0
"""Larger epipolar errors, in raw pixels, are wrong matches; how large says nothing."""

_SURE = 3.0
"""Standard errors by which the mean must improve."""


def split(matches: Sequence[Matches]) -> tuple[list[Matches], list[Matches]]:
    """Divide matches by track into those to adjust with and a tenth to judge by, so that neither knows the other."""
    image_of, _, keypoint_of = unique_keypoints(*match_ends(matches))
    ends = keypoint_of.reshape(2, -1).T
    weights = np.concatenate([np.zeros(0), *(pair.confidence for pair in matches)])
    track_of = merge_matches(MatchGraph(image_of=image_of, matches=ends, weights=weights))
    held_out = track_of[ends[:, 0]] % _HELD_OUT == 0
    held_out |= track_of[ends[:, 1]] % _HELD_OUT == 0
    parts = np.split(held_out, np.cumsum([len(pair.xy1) for pair in matches])[:-1]) if matches else []
    shown = [rows(pair, ~part) for pair, part in zip(matches, parts, strict=True)]
    return shown, [rows(pair, part) for pair, part in zip(matches, parts, strict=True)]


def rows(pair: Matches, chosen: Bool[np.ndarray, " m"]) -> Matches:
    """Some of the matches of a pair."""
    return replace(pair, xy1=pair.xy1[chosen], xy2=pair.xy2[chosen], confidence=pair.confidence[chosen])


def without(matches: Sequence[Matches], tracks: Tracks) -> list[Matches]:
    """Matches of keypoints that none of the tracks holds."""
    places = {image: tracks.xy[tracks.image_of == image] for image in np.unique(tracks.image_of).tolist()}

    def is_free(image: int, xy: Float64[np.ndarray, "m 2"]) -> Bool[np.ndarray, " m"]:
        return keypoint_rows(places.get(image, np.zeros((0, 2))), xy) < 0

    return [rows(pair, is_free(pair.image1, pair.xy1) & is_free(pair.image2, pair.xy2)) for pair in matches]


def epipolar_errors(model: Reconstruction, matches: Sequence[Matches]) -> Float64[np.ndarray, " m"]:
    """Distance of every match from a model's epipolar geometry, in raw pixels; NaN where an image is missing."""
    straighten, images = straighten_with(model), dict(model.images.items())
    errors = [np.zeros(0)]
    for pair in matches:
        image1, image2 = images.get(pair.image1 + 1), images.get(pair.image2 + 1)
        if image1 is None or image2 is None:
            errors.append(np.full(len(pair.xy1), np.nan))
            continue
        cam2_from_cam1 = (image2.cam_from_world() * image1.cam_from_world().inverse()).matrix()
        matrix1, matrix2 = image1.camera.calibration_matrix(), image2.camera.calibration_matrix()
        fundamental = fundamental_matrix(cam2_from_cam1, matrix1, matrix2)
        xy1, xy2 = straighten(pair.image1, pair.xy1), straighten(pair.image2, pair.xy2)
        errors.append(sampson_error(fundamental, xy1, xy2))
    return np.concatenate(errors)


def is_better(before: Float64[np.ndarray, " m"], after: Float64[np.ndarray, " m"], sure: float = _SURE) -> bool:
    """Whether matches agree clearly better, beyond what chance explains.

    Args:
        before, after: error of each match; large ones count as wrong matches.
        sure: standard errors by which the mean must improve.
    """
    gain = np.fmin(before, _MAX_ERROR) - np.fmin(after, _MAX_ERROR)
    gain = gain[np.isfinite(gain)]
    if len(gain) < 2:
        return False
    return bool(gain.mean() > sure * gain.std() / np.sqrt(len(gain)))
