"""The focal length of a pointmap."""

import numpy as np
from jaxtyping import Float

from dust3r_sfm.geometry.pinhole import pixel_grid


def weiszfeld_focal(
    points: Float[np.ndarray, "h w 3"],
    confidence: Float[np.ndarray, "h w"] | None = None,
    principal_point: tuple[float, float] | None = None,
    iterations: int = 10,
    stride: int = 1,
) -> float:
    """Find the focal length that best explains where a camera sees its own points.

    DUSt3R (Wang et al. 2024, section 3.3): argmin_f Σ C ‖(x, y) − f (X, Y) / Z‖ over all pixels, with (x, y) relative
    to the principal point, by Weiszfeld's iteration. Pixels without a finite point in front of the camera do not count.

    Args:
        points: points in the camera's own frame.
        confidence: weights, all equal by default.
        principal_point: (x, y) in pixels, the centre of the map by default.
        iterations: steps at most.
        stride: use every n-th pixel of each axis.

    Returns:
        The focal length in pixels; NaN when no pixel can be used.
    """
    height, width = points.shape[:2]
    centre = (width / 2, height / 2) if principal_point is None else principal_point
    xy = (pixel_grid(height, width)[::stride, ::stride] - np.asarray(centre)).reshape(-1, 2)
    weight = np.ones(len(xy)) if confidence is None else np.ravel(confidence[::stride, ::stride])
    return focal_of_points(points[::stride, ::stride].reshape(-1, 3), xy, weight, iterations)


def focal_of_points(
    points: Float[np.ndarray, "n 3"],
    xy: Float[np.ndarray, "n 2"],
    weight: Float[np.ndarray, " n"],
    iterations: int = 10,
) -> float:
    """Weiszfeld's focal length of single points: like `weiszfeld_focal`, with `xy` relative to the principal point."""
    xyz, weight = np.asarray(points, np.float64), np.asarray(weight, np.float64)
    usable = np.isfinite(xyz).all(1) & (xyz[:, 2] > 0) & np.isfinite(weight) & (weight > 0)
    xy, weight = xy[usable], weight[usable]
    slopes = xyz[usable, :2] / xyz[usable, 2:]
    if not len(xy) or not (slopes**2).any():
        return float("nan")

    across, along = (slopes * xy).sum(1), (slopes**2).sum(1)
    focal = (weight * across).sum() / (weight * along).sum()
    for _ in range(iterations):
        distance = np.linalg.norm(xy - focal * slopes, axis=1)
        robust = weight / np.maximum(distance, 1e-8)
        before, focal = focal, (robust * across).sum() / (robust * along).sum()
        if abs(focal - before) <= 1e-6 * abs(focal):
            break
    return float(focal)
