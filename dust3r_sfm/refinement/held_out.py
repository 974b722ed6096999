"""Matches that an adjustment was not shown, and how well its cameras agree with them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.geometry.epipolar import fundamental_matrix, sampson_error
from dust3r_sfm.tracks.cameras import PosedCameras
from dust3r_sfm.tracks.keypoints import keypoint_rows, match_ends, unique_keypoints
from dust3r_sfm.tracks.merge import MatchGraph, merge_matches
from dust3r_sfm.types import Matches, Tracks

_HELD_OUT_TRACKS = 10
"""One track of so many is kept for judging; chosen by hand."""

_MAX_ERROR_RAW_PX = 4.0
"""Larger epipolar errors are wrong matches, and how large says nothing; COLMAP's default in two-view geometry."""

_LEAST_SCALE_RAW_PX = 0.05
"""Errors below are as good as none; chosen by hand."""

_SURE_STANDARD_ERRORS = 3.0
"""Standard errors by which the mean must improve; chosen by hand."""


def hold_out(matches: Sequence[Matches]) -> tuple[list[Matches], list[Matches]]:
    """Divide matches by track into those to adjust with and a tenth to judge by, which share no keypoint.

    The few matches between a keypoint of one side and one of the other are on neither side. Whole components would not
    do: a few wrong matches can join most tracks to one.
    """
    image_of, _, keypoint_of = unique_keypoints(*match_ends(matches))
    ends = keypoint_of.reshape(2, -1).T
    weights = np.concatenate([np.zeros(0), *(pair.confidence for pair in matches)])
    track_of = merge_matches(MatchGraph(image_of=image_of, matches=ends, weights=weights))
    is_held_out = (track_of >= 0) & (track_of % _HELD_OUT_TRACKS == 0)
    num_held_out = is_held_out[ends].sum(axis=1)
    parts = np.split(num_held_out, np.cumsum([len(pair.xy1) for pair in matches])[:-1]) if matches else []
    shown = [pair.take(part == 0) for pair, part in zip(matches, parts, strict=True)]
    return shown, [pair.take(part == 2) for pair, part in zip(matches, parts, strict=True)]


def matches_outside_tracks(matches: Sequence[Matches], tracks: Tracks) -> list[Matches]:
    """Matches of keypoints that none of the tracks holds."""
    places = {image: tracks.xy[tracks.image_of == image] for image in np.unique(tracks.image_of).tolist()}

    def is_free(image: int, xy: Float64[np.ndarray, "m 2"]) -> Bool[np.ndarray, " m"]:
        return keypoint_rows(places.get(image, np.zeros((0, 2))), xy) < 0

    return [pair.take(is_free(pair.image1, pair.xy1) & is_free(pair.image2, pair.xy2)) for pair in matches]


def epipolar_errors(cameras: PosedCameras, matches: Sequence[Matches]) -> Float64[np.ndarray, " m"]:
    """Distance of every match from the cameras' epipolar geometry, in raw pixels; NaN where an image is not posed."""
    errors = [np.zeros(0)]
    for pair in matches:
        i, j = pair.image1, pair.image2
        if not (cameras.posed[i] and cameras.posed[j]):
            errors.append(np.full(len(pair.xy1), np.nan))
            continue
        fundamental = fundamental_matrix(cameras.relative(i, j), cameras.matrices[i], cameras.matrices[j])
        errors.append(sampson_error(fundamental, cameras.undistort(i, pair.xy1), cameras.undistort(j, pair.xy2)))
    return np.concatenate(errors)


def is_better(
    before: Float64[np.ndarray, " m"], after: Float64[np.ndarray, " m"], sure: float = _SURE_STANDARD_ERRORS
) -> bool:
    """Whether most matches agree clearly better, beyond what chance explains.

    The error of a match counts as e² / (e² + s²) (Geman and McClure), where s is the median before. So a change within
    the usual error counts most, and matches that are wrong anyway, or that a few worse cameras lose, cannot outweigh
    the others by how far they are off. The scale is that of the cameras as they were, which the others cannot choose.

    Args:
        before, after: error of each match.
        sure: standard errors by which the mean must improve.
    """
    known = np.isfinite(before) & np.isfinite(after)
    if not known.any():
        return False
    scale = max(float(np.median(before[known])), _LEAST_SCALE_RAW_PX)
    lost = [errors[known] ** 2 / (errors[known] ** 2 + scale**2) for errors in (before, after)]
    return _is_sure(lost[0] - lost[1], sure)


def has_lower_mean(before: Float64[np.ndarray, " m"], after: Float64[np.ndarray, " m"], sure: float) -> bool:
    """Whether errors are lower in the mean, small ones included, beyond what chance explains.

    Args:
        before, after: error of each match; large ones count as wrong matches.
        sure: standard errors by which the mean must improve.
    """
    gain = np.fmin(before, _MAX_ERROR_RAW_PX) - np.fmin(after, _MAX_ERROR_RAW_PX)
    return _is_sure(gain[np.isfinite(gain)], sure)


def mean_error(errors: Float64[np.ndarray, " m"]) -> float:
    """Mean of those that are known, where large ones count as wrong matches; infinite without any."""
    known = errors[np.isfinite(errors)]
    return float(np.fmin(known, _MAX_ERROR_RAW_PX).mean()) if len(known) else np.inf


def _is_sure(gain: Float64[np.ndarray, " m"], sure: float) -> bool:
    return len(gain) >= 2 and bool(gain.mean() > sure * gain.std() / np.sqrt(len(gain)))
