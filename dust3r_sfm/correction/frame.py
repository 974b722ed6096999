"""Back to the frame and scale of the given cameras."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.colmap.model import NO_TRACKS, id_of_image, with_points
from dust3r_sfm.geometry.procrustes import rotation_and_scale
from dust3r_sfm.geometry.transforms import apply, centres, rotation_angle
from dust3r_sfm.system._pycolmap import Reconstruction

_OUTLIER_MEDIANS = 3.0
"""Cameras that miss the others by so many times the median, in place or turn, do not count; chosen by hand."""

_MAX_ROUNDS = 10
"""Rounds of leaving out such cameras at most; chosen by hand."""

_ARMS_OF_EXTENT = (0.01, 100.0)
"""Least and largest length of the axes that stand for a camera's rotation, over the extent of the centres: between them
it is that at which turns miss by as much as places do, so that the surer of both decides; chosen by hand."""


def given_from_found(
    found: Float64[np.ndarray, "k 3 4"], given: Float64[np.ndarray, "k 3 4"]
) -> tuple[Float64[np.ndarray, "4 4"], Bool[np.ndarray, " k"]]:
    """Fit the similarity from one world to another in which the same cameras stand, without those that miss it.

    Places and turns of the cameras both have a say, by how well they fit.

    Args:
        found: cam_from_world of some cameras, at least two that stand apart.
        given: of the same ones in the other world.

    Returns:
        The similarity, and which cameras it heeds.
    """
    heeded, extent = np.ones(len(found), bool), extent_of(centres(given))
    fit = _fit(found, given, extent)
    for done in range(_MAX_ROUNDS):
        places, turns = _misses(fit, found, given)
        usual = (float(np.median(places[heeded])), float(np.median(turns[heeded])))
        heard = (places <= max(_OUTLIER_MEDIANS * usual[0], 1e-9 * extent)) & (
            turns <= max(_OUTLIER_MEDIANS * usual[1], 1e-9)
        )
        heard = heard if heard.sum() >= 2 else heeded
        least, most = (share * extent for share in _ARMS_OF_EXTENT)
        arm = min(max(usual[0] / max(usual[1], 1e-9), least), most)
        fit = _fit(found[heard], given[heard], arm)
        if (heard == heeded).all() and done:
            break
        heeded = heard
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
    found: Float64[np.ndarray, "k 3 4"], given: Float64[np.ndarray, "k 3 4"], arm: float
) -> Float64[np.ndarray, "4 4"]:
    """The rotation by centres and axes of some length, scale and translation by the centres alone."""
    source, target = centres(found), centres(given)
    source_arms, target_arms = source - source.mean(axis=0), target - target.mean(axis=0)
    grown = np.sqrt((target_arms**2).sum() / max((source_arms**2).sum(), np.finfo(float).tiny))
    products = grown * target_arms.T @ source_arms + arm**2 * np.einsum("kji,kjl->il", given[:, :, :3], found[:, :, :3])
    rotation, _ = rotation_and_scale(products, 1.0)
    turned = source_arms @ rotation.T
    scale = float((turned * target_arms).sum() / max((turned**2).sum(), np.finfo(float).tiny))
    scale = scale if scale > 0 else grown  # centres that contradict the axes
    fit = np.eye(4)
    fit[:3, :3] = scale * rotation
    fit[:3, 3] = target.mean(axis=0) - fit[:3, :3] @ source.mean(axis=0)
    return fit


def _misses(
    fit: Float64[np.ndarray, "4 4"], found: Float64[np.ndarray, "k 3 4"], given: Float64[np.ndarray, "k 3 4"]
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """By how much cameras miss the given ones in place, and in turn (radians)."""
    placed = moved(found, fit)
    places = np.linalg.norm(centres(placed) - centres(given), axis=1)
    return places, np.radians(rotation_angle(placed[:, :, :3] @ np.swapaxes(given[:, :, :3], 1, 2)))
