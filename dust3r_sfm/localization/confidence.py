"""How far a pose is to be believed: by how much of the picture agrees with it."""

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.types import Size

CELLS = 24
"""Cells along the longer side."""
HALF_CELLS = 12.0
"""Cells with inliers at which a pose is believed by half."""
STEEPNESS = 4.0


def pose_confidence(xy: Float64[np.ndarray, "m 2"], inlier: Bool[np.ndarray, " m"], size: Size) -> float:
    """Believe a pose by the number of cells of the picture that hold an inlier.

    Wrong poses gather their inliers in few places: many correspondences of one repeated detail count as one here.

    Args:
        xy: positions of the correspondences in raw pixels.
        inlier: which of them agree with the pose.
        size: (width, height) of the picture.

    Returns:
        0 to 1; 0.5 at 12 cells.
    """
    cells = np.floor(xy[inlier] / max(size) * CELLS).astype(np.int64)
    num_cells = len(np.unique(cells, axis=0))
    return float(num_cells**STEEPNESS / (num_cells**STEEPNESS + HALF_CELLS**STEEPNESS))
