"""Pose and focal length of a query from its pointmaps with one image of the map (DUSt3R, section 3.3 and table 6).

The prediction gives the query's pose relative to the map's image up to scale; the points of that image in the map give
the scale. It needs no focal length: that comes from the query's own pointmap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.geometry.focal import weiszfeld_focal
from dust3r_sfm.geometry.grid import raw_from_upright
from dust3r_sfm.geometry.pinhole import pixel_grid, pixel_scale
from dust3r_sfm.geometry.transforms import compose
from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.localization.correspond import PredictedPair
from dust3r_sfm.localization.lift import Lift
from dust3r_sfm.localization.pose import PoseEstimate
from dust3r_sfm.localization.reference import Reference
from dust3r_sfm.matching.mutual import raw_from_network
from dust3r_sfm.matching.relative import information, pose_from_pnp
from dust3r_sfm.types import KnownCamera, RelativePose, View, is_known

_STRIDE_NETWORK_PX = 4
"""Every n-th pixel of each axis tells the scale. Chosen by hand."""

_MIN_PIXELS = 30
"""Pixels that tell the scale, at least. Chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class ScaledPose:
    """A pose by one image of the map.

    Attributes:
        estimate: pose, camera and inliers of the query.
        xy: raw pixels that `estimate.inlier` speaks of.
    """

    estimate: PoseEstimate
    xy: Float64[np.ndarray, "m 2"]


def scaled_relative_pose(
    view: View, reference: Reference, lift: Lift, predicted: Sequence[PredictedPair], seed: int
) -> ScaledPose | None:
    """Find the pose by each image of the map, and keep the one that most pixels agree with.

    The focal length is the median over the predictions.

    Args:
        view: the query.
        reference: the map.
        lift: points of the map's images.
        predicted: the query with several images of the map.
        seed: of the sampling.

    Returns:
        None where no prediction gives a pose and a scale.
    """
    focals = [
        weiszfeld_focal(each.forward.points1, information(each.forward.confidence1), stride=_STRIDE_NETWORK_PX)
        for each in predicted
        if is_known(each.forward.confidence1).any()
    ]
    focals = [focal for focal in focals if np.isfinite(focal)]
    if not focals:
        return None
    focal = float(np.median(focals))
    best: tuple[RelativePose, PredictedPair, float] | None = None
    for each in predicted:
        relative = pose_from_pnp(0, 1, each.backward, focal, seed=seed)
        scale = _scale(each, reference, lift)
        if relative is not None and scale is not None and (best is None or relative.num_inliers > best[0].num_inliers):
            best = relative, each, scale
    return None if best is None else _in_world(view, reference, *best)


def _scale(each: PredictedPair, reference: Reference, lift: Lift) -> float | None:
    """World units of one unit of the prediction, by the depths of the map's image."""
    index, prediction = each.pair[1], each.backward
    view = reference.views[index]
    height, width = prediction.confidence1.shape
    pixels = pixel_grid(height, width)[::_STRIDE_NETWORK_PX, ::_STRIDE_NETWORK_PX].reshape(-1, 2)
    depth = prediction.points1[::_STRIDE_NETWORK_PX, ::_STRIDE_NETWORK_PX, 2].ravel().astype(np.float64)
    known = is_known(prediction.confidence1[::_STRIDE_NETWORK_PX, ::_STRIDE_NETWORK_PX].ravel()) & (depth > 0)
    world = lift(index, raw_from_network(pixels[known], view))
    pose = reference.cam_from_world[index]
    ratio = (world @ pose[2, :3] + pose[2, 3]) / depth[known]
    ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
    return float(np.median(ratio)) if len(ratio) >= _MIN_PIXELS else None


def _in_world(
    view: View, reference: Reference, relative: RelativePose, each: PredictedPair, scale: float
) -> ScaledPose:
    index = each.pair[1]
    upright = raw_from_upright(view.network_from_image)
    image_upright = raw_from_upright(reference.views[index].network_from_image)
    query_from_image = np.column_stack([relative.cam2_from_cam1[:, :3], relative.cam2_from_cam1[:, 3] * scale])
    image_from_world = image_upright.T @ reference.cam_from_world[index]
    pose = upright @ compose(query_from_image, image_from_world)
    raw_focal = relative.focal2 / pixel_scale(view.network_from_image)
    width, height = view.size
    camera = KnownCamera(model="SIMPLE_PINHOLE", size=view.size, params=(raw_focal, width / 2, height / 2))
    rows, columns = each.backward.confidence2.shape
    pixels = pixel_grid(rows, columns)[::_STRIDE_NETWORK_PX, ::_STRIDE_NETWORK_PX].reshape(-1, 2)
    points = each.backward.points2[::_STRIDE_NETWORK_PX, ::_STRIDE_NETWORK_PX].reshape(-1, 3).astype(np.float64)
    known = is_known(each.backward.confidence2[::_STRIDE_NETWORK_PX, ::_STRIDE_NETWORK_PX].ravel())
    return ScaledPose(
        estimate=PoseEstimate(
            cam_from_world=pose,
            camera=colmap_camera(camera),
            inlier=_agreeing(points, pixels, relative) & known,
            covariance=None,
        ),
        xy=raw_from_network(pixels, view),
    )


def _agreeing(
    points: Float64[np.ndarray, "m 3"], pixels: Float64[np.ndarray, "m 2"], relative: RelativePose
) -> np.ndarray:
    """Pixels within four network pixels of their points' projections."""
    seen = points @ relative.cam2_from_cam1[:, :3].T + relative.cam2_from_cam1[:, 3]
    front = seen[:, 2] > 0
    centre = np.array([pixels[:, 0].max() + pixels[:, 0].min(), pixels[:, 1].max() + pixels[:, 1].min()]) / 2
    projected = seen[:, :2] / np.where(front, seen[:, 2], 1.0)[:, None] * relative.focal2 + centre
    return np.asarray(front & (np.linalg.norm(projected - pixels, axis=1) < 4.0))
