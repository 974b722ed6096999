"""The two cameras of the Kinect that took 7-Scenes: poses and depth belong to one, the photographs to the other."""

import numpy as np
from jaxtyping import Float32, Float64

from dust3r_sfm.geometry.pinhole import intrinsics, project, unproject
from dust3r_sfm.geometry.transforms import apply
from dust3r_sfm.types import KnownCamera, Size

SIZE: Size = (640, 480)
COLOUR = KnownCamera(model="PINHOLE", size=SIZE, params=(525.0, 525.0, 320.0, 240.0))
"""The colour camera that published results assume."""
DEPTH_FOCAL = 585.0
"""Focal length of the depth camera, from the data set's page; its principal point is the middle."""
COLOUR_FROM_DEPTH: Float64[np.ndarray, "3 4"] = np.array(
    [
        [9.9996518012567637e-01, 2.6765126468950343e-03, -7.9041012313000904e-03, -2.5558943178152542e-02],
        [-2.7409311281316700e-03, 9.9996302803027592e-01, -8.1504520778013286e-03, 1.0109636268061706e-04],
        [7.8819942130445332e-03, 8.1718328771890631e-03, 9.9993554558014031e-01, 2.0318321729487039e-03],
    ]
)
"""LIRIS' calibration of a Kinect (projet.liris.cnrs.fr/voir/activities-dataset/kinect-calibration.html), which the
data set's preparations for DSAC* and ACE use; metres."""
_HIDDEN = 0.05
"""A point farther behind its neighbours than this share is hidden by them: it shines through a gap of the warp. Chosen
by hand."""


def register_depth(depth: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Move a depth map from the depth camera to the colour camera.

    Args:
        depth: z of each pixel in the depth camera (480, 640), metres, 0 where unknown.

    Returns:
        z of each pixel of the photograph in the colour camera, metres, 0 where unknown; the nearest surface wins.
    """
    width, height = SIZE
    points = apply(COLOUR_FROM_DEPTH, unproject(depth, intrinsics(DEPTH_FOCAL, SIZE))[depth > 0])
    points = points[points[:, 2] > 0]
    column, row = np.floor(project(points, intrinsics(COLOUR.params[0], SIZE))).astype(np.int64).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    registered = np.full((height, width), np.inf)
    np.minimum.at(registered, (row[inside], column[inside]), points[inside, 2])
    return _without_hidden(registered)


def _without_hidden(depth: Float64[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    from scipy.ndimage import median_filter

    # The median of a 3 × 3 neighbourhood is the front surface wherever gaps are lone pixels.
    hidden = depth > (1 + _HIDDEN) * median_filter(np.where(np.isfinite(depth), depth, 0), size=3)
    return np.where(np.isfinite(depth) & ~hidden, depth, 0).astype(np.float32)
