"""How far a pose is to be believed: by how much of the picture agrees with it, and which share of the matches."""

import numpy as np
from jaxtyping import Bool, Float64

from dust3r_sfm.types import Size

CELLS = 24
"""Cells along the longer side."""
HALF_CELLS = 12.0
"""Cells with inliers at which a pose is believed by half."""
HALF_SHARE = 0.1
"""Share of inliers at which a pose is believed by half."""


def pose_confidence(xy: Float64[np.ndarray, "m 2"], inlier: Bool[np.ndarray, " m"], size: Size) -> float:
    """Believe a pose by the number of cells of the picture that hold an inlier, and by the share of inliers.

    Wrong poses gather their inliers in few places (many correspondences of one detail count as one here), or few of
    many, where the scene repeats itself.

    Args:
        xy: positions of the correspondences in raw pixels.
        inlier: which of them agree with the pose.
        size: (width, height) of the picture.

    Returns:
        0 to 1.
    """
    cells = np.floor(xy[inlier] / max(size) * CELLS).astype(np.int64)
    spread = (len(np.unique(cells, axis=0)) / HALF_CELLS) ** 4
    share = (float(inlier.mean()) / HALF_SHARE) ** 3 if len(inlier) else 0.0
    return spread / (1 + spread) * share / (1 + share)
