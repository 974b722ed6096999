"""Focal lengths that wander off in an adjustment, as those of photographs that look straight at a plane do.

There any focal length fits with another distance to the plane. Where EXIF and the alignment agree, such a camera keeps
the focal length of EXIF, unless matches that the adjustment was not shown say that the other one is better. Without two
witnesses the adjustment is believed: an alignment alone can be off by a third where it was coarse.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.colmap.model import NO_TRACKS, image_of_id, with_points
from dust3r_sfm.refinement.held_out import epipolar_errors, is_better, mean_error
from dust3r_sfm.refinement.state import RefinementState
from dust3r_sfm.types import Matches, View

_FAR_OF_FOCAL = 0.1
"""A focal length that is off by more has wandered; EXIF, rounded to whole millimetres of 35 mm film, is within 4 % from
12 mm on. Chosen by hand."""

_SURE_STANDARD_ERRORS = 3.0
_LEAST_GAIN_OF_ERROR = 0.04
"""Standard errors, and share of their mean error, by which matches must agree better with a focal length that wandered:
a lens that is fitted as well always gains a little. Chosen by hand."""


def wandered(start: RefinementState, state: RefinementState, views: Sequence[View]) -> Bool[np.ndarray, " n"]:
    """Images whose focal length is far from that of EXIF, although the alignment began near it."""
    expected = _of_exif(views)
    near_before, near_after = (
        np.abs(np.log(_focals(one) / expected)) <= np.log1p(_FAR_OF_FOCAL) for one in (start, state)
    )
    return np.asarray(state.cameras.posed & near_before & ~near_after)


def with_expected_focals(
    start: RefinementState, views: Sequence[View], images: Bool[np.ndarray, " n"]
) -> RefinementState:
    """Give the cameras of some images the focal length of EXIF, which they have."""
    model, expected = with_points(start.model, NO_TRACKS), _of_exif(views)
    of_camera: dict[int, list[float]] = {}
    for image_id, image in model.images.items():
        if images[image_of_id(image_id)]:
            of_camera.setdefault(image.camera_id, []).append(float(expected[image_of_id(image_id)]))
    for camera_id, focals in of_camera.items():
        camera = model.cameras[camera_id]
        params = np.array(camera.params)
        params[camera.focal_length_idxs()] = np.mean(focals)
        camera.params = params.tolist()
    return replace(start, model=model)


def earned(
    expected: RefinementState, free: RefinementState, held_out: Sequence[Matches], images: Bool[np.ndarray, " n"]
) -> bool:
    """Whether matches of some images, which no adjustment was shown, agree surely better with free focal lengths."""
    theirs = [pair for pair in held_out if images[pair.image1] or images[pair.image2]]
    if not theirs:
        return False
    cameras = {free.model.images[image_id].camera_id for image_id in free.model.images if images[image_of_id(image_id)]}
    before, after = epipolar_errors(expected.cameras, theirs), epipolar_errors(free.cameras, theirs)
    matters = mean_error(after) < (1.0 - _LEAST_GAIN_OF_ERROR) * mean_error(before)
    return matters and is_better(before, after, _SURE_STANDARD_ERRORS * np.sqrt(len(cameras)))


def _focals(state: RefinementState) -> Float64[np.ndarray, " n"]:
    return np.asarray(state.cameras.matrices[:, (0, 1), (0, 1)].mean(axis=1))


def _of_exif(views: Sequence[View]) -> Float64[np.ndarray, " n"]:
    """Focal lengths in raw pixels, NaN where EXIF has none."""
    return np.array([np.nan if view.focal_prior is None else view.focal_prior for view in views], np.float64)
