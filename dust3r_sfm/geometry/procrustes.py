"""Closed-form similarity between corresponding points."""

import numpy as np
from jaxtyping import Float, Float64


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
    left, singular, right = np.linalg.svd(np.swapaxes(target, -1, -2) @ source)
    signs = np.ones((*singular.shape[:-1], 3))
    signs[..., 2] = np.where(np.linalg.det(left @ right) < 0, -1.0, 1.0)
    rotation = (left * signs[..., None, :]) @ right
    spread = (source**2).sum((-1, -2))
    ratio = (singular * signs).sum(-1) / np.where(spread > 0, spread, 1.0)
    factor = np.where((spread > 0) & (ratio > 0), ratio, 1.0) if scale else np.ones_like(spread)

    fit = np.zeros((*singular.shape[:-1], 4, 4))
    fit[..., :3, :3] = factor[..., None, None] * rotation
    fit[..., :3, 3] = target_mean - np.einsum("...ij,...j->...i", fit[..., :3, :3], source_mean)
    fit[..., 3, 3] = 1.0
    return fit
