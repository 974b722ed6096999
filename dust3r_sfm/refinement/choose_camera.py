"""Which camera model the photographs carry: matches that an adjustment was not shown decide."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.colmap.camera_models import with_camera_model
from dust3r_sfm.colmap.model import image_of_id
from dust3r_sfm.options import RefineOptions
from dust3r_sfm.refinement.adjust import AdjustmentMask
from dust3r_sfm.refinement.held_out import epipolar_errors, has_lower_mean, matches_outside_tracks
from dust3r_sfm.refinement.state import RefinementState
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.system.parallel import num_cores
from dust3r_sfm.types import Matches

_SHARED = (
    ("SIMPLE_PINHOLE", False),
    ("SIMPLE_PINHOLE", True),
    ("SIMPLE_RADIAL", False),
    ("SIMPLE_RADIAL", True),
    ("OPENCV", True),
)
_ALONE = (("SIMPLE_PINHOLE", False), ("SIMPLE_RADIAL", False))
"""Camera models and whether principal points move, from simple to general; for images that share cameras or do
not; chosen by hand."""

_MIN_SHARED_IMAGES = 3
"""Images that must share a camera before its principal point is looked for; chosen by hand."""

_SURE_STANDARD_ERRORS = 5.0
"""Standard errors by which the mean error must improve for one parameter more, as matches of one track err together;
chosen by hand."""

_FARTHEST_PRINCIPAL_POINT_OF_SIDE = 0.02
"""Distance of a principal point from the centre, over the longer side, beyond which it is not believed: no lens sits so
askew, but scenes of few depths can make a bend of the picture look like it. Cut-out photographs need
`principal_point="refine"`. Chosen by hand."""


def select_camera_model(
    state: RefinementState,
    shown: Sequence[Matches],
    held_out: Sequence[Matches],
    mask: AdjustmentMask,
    options: RefineOptions,
    limit: float,
) -> tuple[RefinementState, AdjustmentMask, str]:
    """Try camera models from simple to general, and keep the last whose gain on matches not shown is sure.

    Args:
        state: cameras to start from.
        shown: matches to adjust with; those that the trials leave out judge as well.
        held_out: matches to judge by.
        mask: what may move at all.
        options: the camera model and principal point where the user chose.
        limit: reprojection error of an observation, network pixels.

    Returns:
        The adjusted cameras, what may move from now on, and both in words.
    """
    if mask.known_cameras[state.cameras.posed].all():
        return state.adjusted(shown, limit, mask), mask, "cameras as given"
    shared = _is_shared(state.model, len(mask.known_cameras))
    camera_models = _SHARED if shared[~mask.known_cameras].any() else _ALONE

    def adjust(camera_model: tuple[str, bool]) -> tuple[RefinementState, AdjustmentMask, Float64[np.ndarray, " m"]]:
        name, principal_points = camera_model
        free = replace(
            mask,
            known_cameras=mask.known_cameras | (~shared if principal_points else False),
            principal_points=principal_points,
            distortion=True,
        )
        start = replace(state, model=with_camera_model(state.model, name, mask.known_cameras))
        trial = start.adjusted_to(tracks, free)
        return trial, free, epipolar_errors(trial.cameras, judging)

    wanted = _wanted(camera_models, options)
    tracks = state.triangulated(shown, limit)  # every trial starts from these cameras, and without distortion
    judging = [*held_out, *matches_outside_tracks(shown, tracks)]
    with ThreadPoolExecutor(num_cores()) as pool:
        trials = list(pool.map(adjust, wanted))
    counts = [_num_parameters(trial.model, free) for trial, free, _ in trials]
    best = 0
    for index in range(1, len(trials)):
        askew = options.principal_point == "auto" and _is_askew(trials[index][0].model, trials[index][1])
        sure = _SURE_STANDARD_ERRORS * np.sqrt(max(counts[index] - counts[best], 1))
        if not askew and has_lower_mean(trials[best][2], trials[index][2], sure):
            best = index
    name, principal_points = wanted[best]
    words = f"{name}, principal point {'refined' if principal_points else 'kept'}"
    return trials[best][0], trials[best][1], words


def _wanted(camera_models: Sequence[tuple[str, bool]], options: RefineOptions) -> list[tuple[str, bool]]:
    """The camera models to try, with and without the principal point."""
    if options.camera_model != "auto":
        camera_models = [(options.camera_model, moves) for _, moves in camera_models]
    if options.principal_point != "auto":
        camera_models = [(name, options.principal_point == "refine") for name, _ in camera_models]
    return list(dict.fromkeys(camera_models))


def _is_askew(model: Reconstruction, mask: AdjustmentMask) -> bool:
    """Whether a principal point that moved went farther than a lens can be askew."""
    cameras = {
        image.camera_id: image.camera for i, image in model.images.items() if not mask.known_cameras[image_of_id(i)]
    }
    return any(
        np.hypot(camera.principal_point_x - camera.width / 2, camera.principal_point_y - camera.height / 2)
        > _FARTHEST_PRINCIPAL_POINT_OF_SIDE * max(camera.width, camera.height)
        for camera in cameras.values()
    )


def _num_parameters(model: Reconstruction, mask: AdjustmentMask) -> int:
    """Parameters of a model's cameras that moved."""
    cameras = {
        image.camera_id: image.camera for i, image in model.images.items() if not mask.known_cameras[image_of_id(i)]
    }
    fixed = 0 if mask.principal_points else 2
    return sum(len(camera.params) - fixed for camera in cameras.values())


def _is_shared(model: Reconstruction, num_images: int) -> Bool[np.ndarray, " n"]:
    """Whether an image shares its camera with enough others."""
    camera_of = np.zeros(num_images, dtype=np.int64)
    for image_id, image in model.images.items():
        camera_of[image_of_id(image_id)] = image.camera_id
    shared: Bool[np.ndarray, " n"] = np.bincount(camera_of)[camera_of] >= _MIN_SHARED_IMAGES
    return shared & (camera_of > 0)
