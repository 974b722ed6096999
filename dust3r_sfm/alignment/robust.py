"""Medians and kernels that bad predictions cannot move."""

import numpy as np
from jaxtyping import Float


def weighted_median(values: Float[np.ndarray, "*b n"], weights: Float[np.ndarray, "*b n"]) -> Float[np.ndarray, "*b"]:
    """Return the weighted medians along the last axis; NaN where no weight is positive."""
    order = np.argsort(values, axis=-1)
    values, weights = np.take_along_axis(values, order, -1), np.take_along_axis(weights, order, -1)
    total = np.cumsum(weights, axis=-1)
    index = (total < total[..., -1:] / 2).sum(-1, keepdims=True)
    median = np.take_along_axis(values, np.minimum(index, values.shape[-1] - 1), -1)
    return np.asarray(np.where(total[..., -1:] > 0, median, np.nan)[..., 0])


def redescend(residual: Float[np.ndarray, "*b"], width: Float[np.ndarray, "*c"] | float) -> Float[np.ndarray, "*b"]:
    """Return Geman-McClure weights 1 / (1 + (residual / width)²)²: 1 at 0, a quarter at `width`, almost 0 far out."""
    return np.asarray(1 / (1 + (residual / width) ** 2) ** 2)
