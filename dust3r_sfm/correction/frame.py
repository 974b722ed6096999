"""Back to the frame and scale of the given cameras."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.colmap.model import NO_TRACKS, id_of_image, with_points
from dust3r_sfm.geometry.procrustes import similarity
from dust3r_sfm.geometry.transforms import apply, centres
from dust3r_sfm.system._pycolmap import Reconstruction

_ARM_OF_EXTENT = 0.01
"""Length of the axes that stand for a camera's rotation, over the extent of the centres: they only decide what centres
leave open, as those on a line; chosen by hand."""

_OUTLIER_MEDIANS = 3.0
"""Cameras that miss the others by so many times the median do not count; chosen by hand."""

_MAX_ROUNDS = 10
"""Rounds of leaving out such cameras at most; chosen by hand."""


def given_from_found(
    found: Float64[np.ndarray, "k 3 4"], given: Float64[np.ndarray, "k 3 4"]
) -> tuple[Float64[np.ndarray, "4 4"], Bool[np.ndarray, " k"]]:
    """Fit the similarity from one world to another in which the same cameras stand, without those that miss it.

    Args:
        found: cam_from_world of some cameras.
        given: of the same ones in the other world.

    Returns:
        The similarity, and which cameras it heeds.
    """
    heeded = np.ones(len(found), bool)
    extent = extent_of(centres(given))
    for _ in range(_MAX_ROUNDS):
        fit = _fit(found[heeded], given[heeded], extent)
        misses = np.linalg.norm(apply(fit, centres(found)) - centres(given), axis=1)
        kept = misses <= max(_OUTLIER_MEDIANS * float(np.median(misses[heeded])), 1e-9 * extent)
        if kept.sum() < 2 or (kept == heeded).all():
            break
        heeded = kept
    return fit, heeded


def extent_of(places: Float64[np.ndarray, "k 3"]) -> float:
    """The largest distance between two of some places."""
    return float(np.linalg.norm(places[:, None] - places[None], axis=-1).max(initial=0.0))


def moved(
    cam_from_world: Float64[np.ndarray, "k 3 4"], fit: Float64[np.ndarray, "4 4"]
) -> Float64[np.ndarray, "k 3 4"]:
    """Poses of cameras in the world that a similarity leads to."""
    scale = float(np.cbrt(np.linalg.det(fit[:3, :3])))
    rotation = cam_from_world[:, :, :3] @ (fit[:3, :3] / scale).T
    places = apply(fit, centres(cam_from_world))
    return np.concatenate([rotation, -rotation @ places[:, :, None]], axis=2)


def with_poses(model: Reconstruction, poses: Mapping[int, Float64[np.ndarray, "3 4"]]) -> Reconstruction:
    """Copy a model's cameras, some of its images with other poses; points are left out.

    Args:
        model: image ids are those of `id_of_image`.
        poses: cam_from_world by image.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    copy = with_points(model, NO_TRACKS)
    for index, pose in poses.items():
        image = copy.images[id_of_image(index)]
        copy.frames[image.frame_id].set_cam_from_world(image.camera_id, pycolmap.Rigid3d(pose))
    return copy


def _fit(
    found: Float64[np.ndarray, "k 3 4"], given: Float64[np.ndarray, "k 3 4"], extent: float
) -> Float64[np.ndarray, "4 4"]:
    """By centres and the tips of the cameras' axes."""
    # The scale is fitted first, so that the axes of both worlds have one length.
    grown = extent_of(centres(given)) / max(extent_of(centres(found)), 1e-300)
    arms = (_ARM_OF_EXTENT * extent / grown, _ARM_OF_EXTENT * extent)
    tips = (
        np.concatenate([centres(poses)[:, None], centres(poses)[:, None] + arm * poses[:, :, :3]], axis=1)
        for poses, arm in zip((found, given), arms, strict=True)
    )
    source, target = (points.reshape(-1, 3) for points in tips)
    fit: Float64[np.ndarray, "4 4"] = similarity(source, target)
    return fit
