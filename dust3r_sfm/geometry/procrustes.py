"""Closed-form similarity between corresponding points."""

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Float64


@no_type_check
def rotation_and_scale(products, spread):
    """Solve for R and s of target ≈ s R source + t from sums over centred points (Umeyama 1991).

    Plain NumPy that Numba can compile as well.

    Args:
        products: Σ w target sourceᵀ (3, 3).
        spread: Σ w |source|².

    Returns:
        R (3, 3), never a mirror, and s; 1 where the points are at one place.
    """
    left, singular, right = np.linalg.svd(products)
    sign = -1.0 if np.linalg.det(left) * np.linalg.det(right) < 0 else 1.0
    left[:, 2] *= sign
    ratio = (singular[0] + singular[1] + sign * singular[2]) / spread if spread > 0 else 1.0
    return left @ right, ratio if ratio > 0 else 1.0


def similarity(
    source: Float[np.ndarray, "*b n 3"],
    target: Float[np.ndarray, "*b n 3"],
    weights: Float[np.ndarray, "*b n"] | None = None,
    *,
    scale: bool = True,
) -> Float64[np.ndarray, "*b 4 4"]:
    """Fit target ≈ s R source + t by weighted least squares (Umeyama 1991), batched over leading axes.

    Rows with a non-finite coordinate or a weight that is not positive are ignored. Without any usable row the result is
    the identity; with points at one place it is a pure translation.

    Args:
        source, target: corresponding points.
        weights: one weight per correspondence, all equal by default.
        scale: False fits a rigid transform.

    Returns:
        target_from_source (4, 4) with s R in its 3×3.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    weight = np.ones(source.shape[:-1]) if weights is None else np.asarray(weights, np.float64)
    usable = np.isfinite(source).all(-1) & np.isfinite(target).all(-1) & np.isfinite(weight) & (weight > 0)
    weight = np.where(usable, weight, 0.0)
    source, target = np.where(usable[..., None], source, 0.0), np.where(usable[..., None], target, 0.0)
    weight = weight / np.maximum(weight.sum(-1, keepdims=True), np.finfo(np.float64).tiny)

    source_mean = (weight[..., None] * source).sum(-2)
    target_mean = (weight[..., None] * target).sum(-2)
    source = (source - source_mean[..., None, :]) * np.sqrt(weight)[..., None]
    target = (target - target_mean[..., None, :]) * np.sqrt(weight)[..., None]
    products, spread = np.swapaxes(target, -1, -2) @ source, (source**2).sum((-1, -2))

    fit = np.zeros((*spread.shape, 4, 4))
    for index in np.ndindex(spread.shape):
        rotation, factor = rotation_and_scale(products[index], spread[index])
        fit[(*index, slice(3), slice(3))] = (factor if scale else 1.0) * rotation
    fit[..., :3, 3] = target_mean - np.einsum("...ij,...j->...i", fit[..., :3, :3], source_mean)
    fit[..., 3, 3] = 1.0
    return fit
