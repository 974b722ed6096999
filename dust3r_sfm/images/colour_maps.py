"""Depth and confidence as pictures."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from dust3r_sfm.types import is_known

_SHOWN_PERCENTILES = (2.0, 98.0)
"""Values that take the two ends of a palette. Chosen by hand."""


def depth_colours(depth: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Near is red, far is blue, on a logarithmic scale; black where nothing is known (0 or not finite)."""
    known = np.isfinite(depth) & (depth > 0)
    return _coloured(-np.log(depth, where=known, out=np.zeros(depth.shape)), known, cv2.COLORMAP_TURBO)


def confidence_colours(confidence: Float32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Bright is confident, on a logarithmic scale; black where nothing is known (1 or less)."""
    known = is_known(confidence)
    return _coloured(np.log(confidence, where=known, out=np.zeros(confidence.shape)), known, cv2.COLORMAP_VIRIDIS)


def _coloured(
    values: Float[np.ndarray, "h w"], known: Bool[np.ndarray, "h w"], palette: int
) -> UInt8[np.ndarray, "h w 3"]:
    shown = np.zeros((*values.shape, 3), np.uint8)
    if known.any():
        low, high = np.percentile(values[known], _SHOWN_PERCENTILES)
        share = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
        shown[known] = cv2.applyColorMap(np.round(share * 255).astype(np.uint8), palette)[known][:, ::-1]
    return shown
