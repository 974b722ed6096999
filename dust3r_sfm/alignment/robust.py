"""Medians and kernels that bad predictions cannot move."""

from typing import no_type_check

import numpy as np
from jaxtyping import Float

from dust3r_sfm.system.compiled import compiled


@compiled
@no_type_check
def median_of(values, weights):
    """Return the weighted median of numbers, by selection; NaN where no weight is positive."""
    kept, heavy, size, total = np.empty_like(values), np.empty_like(weights), 0, 0.0
    for k in range(len(values)):
        if weights[k] > 0:
            kept[size], heavy[size] = values[k], weights[k]
            total += weights[k]
            size += 1
    if size == 0:
        return np.nan
    low, high, need = 0, size, total / 2
    while high - low > 1:
        first, middle, last = kept[low], kept[(low + high) // 2], kept[high - 1]
        pivot = max(min(first, middle), min(max(first, middle), last))
        # What is below the pivot goes to the front, what is above it to the end.
        below, equal, above, less, same = low, low, high, 0.0, 0.0
        while equal < above:
            value, weight = kept[equal], heavy[equal]
            if value < pivot:
                kept[equal], heavy[equal] = kept[below], heavy[below]
                kept[below], heavy[below] = value, weight
                less += weight
                below += 1
                equal += 1
            elif value > pivot:
                above -= 1
                kept[equal], heavy[equal] = kept[above], heavy[above]
                kept[above], heavy[above] = value, weight
            else:
                same += weight
                equal += 1
        if less >= need:
            high = below
        elif less + same >= need or above == high:
            return kept[below]
        else:
            need -= less + same
            low = above
    return kept[low]


@compiled
@no_type_check
def _medians(values, weights):
    found = np.empty(len(values))
    for k in range(len(values)):
        found[k] = median_of(values[k], weights[k])
    return found


def weighted_median(values: Float[np.ndarray, "*b n"], weights: Float[np.ndarray, "*b n"]) -> Float[np.ndarray, "*b"]:
    """Return the weighted medians of finite numbers along the last axis; NaN where no weight is positive."""
    flat = [np.ascontiguousarray(array, np.float64).reshape(-1, array.shape[-1]) for array in (values, weights)]
    return np.asarray(_medians(*flat)).reshape(values.shape[:-1])


def redescend(residual: Float[np.ndarray, "*b"], width: Float[np.ndarray, "*c"] | float) -> Float[np.ndarray, "*b"]:
    """Return Geman-McClure weights 1 / (1 + (residual / width)²)²: 1 at 0, a quarter at `width`, almost 0 far out."""
    return np.asarray(1 / (1 + (residual / width) ** 2) ** 2)
