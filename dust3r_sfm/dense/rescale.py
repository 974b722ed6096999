"""Depth maps of a scene, corrected to the depths of the points that each image observes in a (refined) model."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Float64

from dust3r_sfm.geometry.grid import network_from_raw
from dust3r_sfm.geometry.pinhole import pixel_grid
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.tracks.keypoints import positions
from dust3r_sfm.types import Scene

_MIN_POINTS = 20
"""An image with fewer points at known depths takes the usual scale of the others; chosen by hand."""

_ROUNDS = 15
_HALF_WEIGHT_STANDARD_DEVIATIONS = 3.0
"""Errors of so many standard deviations count for half, in 15 rounds of reweighting; chosen by hand."""

_RIDGE_OF_POINTS = 0.01
"""Pull of the slopes towards 0, as a share of the points' number, in squared units of image sides and log depth; chosen
by hand."""


def corrected_depths(
    reconstruction: Reconstruction, scene: Scene, depths: Mapping[str, Float32[np.ndarray, "_ _"]]
) -> dict[str, Float32[np.ndarray, "_ _"]]:
    """Bring depth maps to the units, and to the bends, of a model.

    Refined focal lengths and poses change depths by more than a factor: the log of the correction is a robust linear
    function of the position in the image and of log depth, fitted per image and kept within what its points ask for.

    Args:
        reconstruction: the model in original pixels.
        scene: the scene of the depth maps; only names and `network_from_image` are used.
        depths: depth maps on the network grid by image name, 0 where unknown.
    """
    index_of = {name: index for index, name in enumerate(scene.names)}
    image_ids = {image.name: image.image_id for image in reconstruction.images.values() if image.has_pose}
    corrections: dict[str, Float64[np.ndarray, "_ _"]] = {}
    usual = []
    for name, depth in depths.items():
        network_from_image = scene.network_from_image[index_of[name]]
        xy, expected = _observed_depths(reconstruction, image_ids[name])
        xy = network_from_raw(network_from_image, xy)
        found = _at(depth, xy)
        usable = (found > 0) & (expected > 0)
        if usable.sum() >= _MIN_POINTS:
            wanted = np.log(expected[usable] / found[usable])
            usual.append(np.median(wanted))
            corrections[name] = _correction(depth, xy[usable], found[usable], wanted)
    other = float(np.median(usual)) if usual else 0.0
    return {name: depth * np.exp(corrections.get(name, other)).astype(np.float32) for name, depth in depths.items()}


def _correction(
    depth: Float32[np.ndarray, "h w"],
    xy: Float64[np.ndarray, "p 2"],
    found: Float64[np.ndarray, " p"],
    wanted: Float64[np.ndarray, " p"],
) -> Float64[np.ndarray, "h w"]:
    """Log of the factor of each pixel."""
    size = max(depth.shape)
    middle = float(np.median(np.log(found)))

    def terms(xy: Float64[np.ndarray, "k 2"], depth: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, "k 4"]:
        return np.column_stack([np.ones(len(xy)), xy / size - 0.5, np.log(depth) - middle])

    design, typical = terms(xy, found), float(np.median(wanted))
    coefficients, weights = np.zeros(4), np.ones(len(wanted))
    ridge = np.diag([0.0, *[_RIDGE_OF_POINTS] * 3]) * len(wanted)
    for _ in range(_ROUNDS):
        weighted = design * weights[:, None]
        coefficients = np.linalg.solve(weighted.T @ design + ridge, weighted.T @ (wanted - typical))
        error = np.abs(wanted - typical - design @ coefficients)
        spread = max(1.4826 * float(np.median(error)), 1e-6)
        weights = 1.0 / (1.0 + (error / (_HALF_WEIGHT_STANDARD_DEVIATIONS * spread)) ** 2)
    pixels = pixel_grid(*depth.shape).reshape(-1, 2)
    known = depth.ravel() > 0
    correction = terms(pixels, np.where(known, depth.ravel(), 1.0).astype(np.float64)) @ coefficients
    at_points = design @ coefficients
    return typical + np.clip(correction, at_points.min(), at_points.max()).reshape(depth.shape)


def _observed_depths(
    reconstruction: Reconstruction, image_id: int
) -> tuple[Float64[np.ndarray, "p 2"], Float64[np.ndarray, " p"]]:
    """Positions and depths of the points that an image observes."""
    image, points = reconstruction.images[image_id], reconstruction.points3D
    observed = [point for point in image.points2D if point.has_point3D()]
    xyz = np.array([points[point.point3D_id].xyz for point in observed]).reshape(-1, 3)
    third_row = image.cam_from_world().matrix()[2]
    return positions(observed), xyz @ third_row[:3] + third_row[3]


def _at(depth: Float32[np.ndarray, "h w"], xy: Float64[np.ndarray, "p 2"]) -> Float64[np.ndarray, " p"]:
    """Depth at the pixels of some positions; 0 outside the map."""
    column, row = np.floor(xy).astype(np.int64).T
    height, width = depth.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return np.where(inside, depth[row.clip(0, height - 1), column.clip(0, width - 1)], 0.0).astype(np.float64)
