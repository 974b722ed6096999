"""The focal length of a pointmap."""

import math

import numpy as np
from jaxtyping import Float

_ENOUGH_PIXELS = 3000
"""So many pixels give the focal length of all to 0.02 %, a thirtieth of what a good prediction is off itself. Chosen by
hand."""

_CONVERGED_OF_FOCAL = 1e-6
"""Change of the focal length, as a share of it, at which the iteration ends. Chosen by hand."""


def weiszfeld_focal(
    points: Float[np.ndarray, "h w 3"],
    confidence: Float[np.ndarray, "h w"] | None = None,
    principal_point: tuple[float, float] | None = None,
    iterations: int = 10,
    stride: int | None = None,
) -> float:
    """Find the focal length that best explains where a camera sees its own points.

    DUSt3R (Wang et al. 2024, section 3.3): argmin_f Σ C ‖(x, y) − f (X, Y) / Z‖ over a lattice of pixels, with (x, y)
    relative to the principal point, by Weiszfeld's iteration. Pixels without a finite point in front of the camera do
    not count.

    Args:
        points: points in the camera's own frame.
        confidence: weights, all equal by default.
        principal_point: (x, y) in pixels, the centre of the map by default.
        iterations: steps at most.
        stride: use every n-th pixel of each axis; by default so that about `_ENOUGH_PIXELS` take part, 1: all.

    Returns:
        The focal length in pixels; NaN when no pixel can be used.
    """
    height, width = points.shape[:2]
    if stride is None:
        stride = max(1, math.floor(math.sqrt(height * width / _ENOUGH_PIXELS)))
    # From the middle of the first cell, so that the lattice is as far from all borders.
    lattice = np.s_[(stride - 1) // 2 :: stride, (stride - 1) // 2 :: stride]
    centre = (width / 2, height / 2) if principal_point is None else principal_point
    x = np.arange(width)[lattice[1]] + (0.5 - centre[0])
    y = np.arange(height)[lattice[0]] + (0.5 - centre[1])
    xy = np.empty((len(y), len(x), 2))
    xy[..., 0], xy[..., 1] = x, y[:, None]
    weight = np.ones(xy.shape[:2]) if confidence is None else confidence[lattice]
    return focal_of_points(points[lattice].reshape(-1, 3), xy.reshape(-1, 2), weight.ravel(), iterations)


def focal_of_points(
    points: Float[np.ndarray, "n 3"],
    xy: Float[np.ndarray, "n 2"],
    weight: Float[np.ndarray, " n"],
    iterations: int = 10,
) -> float:
    """Weiszfeld's focal length of single points: like `weiszfeld_focal`, with `xy` relative to the principal point."""
    # Flat coordinates of the usable points: the iteration is as fast as memory.
    depth = points[:, 2].astype(np.float64)
    usable = (depth > 0) & (weight > 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        right, down = points[:, 0] / depth, points[:, 1] / depth
        usable &= np.isfinite(right + down + depth + weight)
    x, y, right, down = xy[usable, 0], xy[usable, 1], right[usable], down[usable]
    weight = weight[usable].astype(np.float64)
    across, along = right * x + down * y, right * right + down * down
    if not along.any():
        return float("nan")

    focal = (weight @ across) / (weight @ along)
    for _ in range(iterations):
        robust = weight / np.maximum(np.sqrt((x - focal * right) ** 2 + (y - focal * down) ** 2), 1e-8)
        before, focal = focal, (robust @ across) / (robust @ along)
        if abs(focal - before) <= _CONVERGED_OF_FOCAL * abs(focal):
            break
    return float(focal)
