"""Depth of single photographs as the tables count it: two lineages of rules, which differ by points.

`sc-depth` is the test protocol of SC-Depth (Bian et al., TPAMI 2021; sc_depth_pl), very likely that of DUSt3R's
table 2, which prints SC-DepthV3 on exactly these sets. `monst3r` is that of MonST3R (Zhang et al., ICLR 2025) and
CUT3R. AbsRel and delta: Eigen et al. 2014. `evaluation.depth` compares any two maps, without such rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64
from torch.nn.functional import grid_sample

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.pinhole import pixel_grid
from dust3r_sfm.types import Size

_DELTA_RATIO = 1.25
"""Larger over smaller depth (Eigen et al. 2014)."""
_LEAST_DEPTH_METRES = 1e-6
"""A predicted depth of no camera counts as this, so that it is wrong; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class MonoRule:
    """How a map is judged.

    Attributes:
        nearest, farthest: true depths strictly between them count, metres.
        clamp: predictions are clamped to them after scaling.
        interpolation: that brings a prediction to the pixels of the truth.
        weighted: images count by their valid pixels, not equally.
    """

    nearest: float
    farthest: float
    clamp: bool
    interpolation: Literal["bilinear", "bicubic"]
    weighted: bool


@dataclass(frozen=True, kw_only=True)
class MonoErrors:
    """Errors of one map, or the mean of several.

    Attributes:
        abs_rel: mean |depth - truth| / truth.
        delta1: share of pixels whose ratio is strictly below 1.25.
        num_pixels: valid pixels.
    """

    abs_rel: float
    delta1: float
    num_pixels: int


def mono_errors(
    depth: Float[np.ndarray, "h w"],
    truth: Float[np.ndarray, "h w"],
    rule: MonoRule,
    crop: Bool[np.ndarray, "h w"] | None = None,
) -> MonoErrors | None:
    """Judge a map, scaled by the ratio of medians.

    Args:
        depth: predicted z, any unit, on the pixels of the truth; see `depth_on_truth`.
        truth: metres; 0 or not finite where unknown.
        rule: of the set and lineage.
        crop: pixels that count; all by default.

    Returns:
        None where no true depth counts.
    """
    valid = np.isfinite(truth) & (truth > rule.nearest) & (truth < rule.farthest)
    if crop is not None:
        valid &= crop
    if not valid.any():
        return None
    true, predicted = truth[valid].astype(np.float64), depth[valid].astype(np.float64)
    predicted = np.maximum(np.nan_to_num(predicted, nan=0.0), _LEAST_DEPTH_METRES)
    predicted *= np.median(true) / np.median(predicted)
    if rule.clamp:
        predicted = np.clip(predicted, rule.nearest, rule.farthest)
    return MonoErrors(
        abs_rel=float(np.mean(np.abs(predicted - true) / true)),
        delta1=float(np.mean(np.maximum(predicted / true, true / predicted) < _DELTA_RATIO)),
        num_pixels=int(valid.sum()),
    )


def mean_mono(errors: Sequence[MonoErrors], rule: MonoRule) -> MonoErrors:
    """Average the errors of a set's images, as the rule weighs them.

    Raises:
        InputError: no images.
    """
    if not errors:
        raise InputError("There is no depth map to average over.")
    pixels = np.array([one.num_pixels for one in errors])
    weights = pixels if rule.weighted else np.ones(len(errors))
    return MonoErrors(
        abs_rel=float(np.average([one.abs_rel for one in errors], weights=weights)),
        delta1=float(np.average([one.delta1 for one in errors], weights=weights)),
        num_pixels=int(pixels.sum()),
    )


def depth_on_truth(
    depth: Float32[np.ndarray, "h w"],
    network_from_image: Float64[np.ndarray, "3 3"],
    size: Size,
    shape: tuple[int, int],
    interpolation: Literal["bilinear", "bicubic"],
) -> Float32[np.ndarray, "_ _"]:
    """Bring a depth map from the network grid to the pixels of a true one; equal to a resize where nothing is cropped.

    Args:
        depth: on the network grid.
        network_from_image: map from raw original to network pixels.
        size: (width, height) of the photograph.
        shape: (height, width) of the truth, which shows the same field of view.
        interpolation: between network pixels; beyond a crop the nearest ones go on.
    """
    xy = pixel_grid(*shape) * (np.array(size) / shape[::-1])
    xy = xy @ network_from_image[:2, :2].T + network_from_image[:2, 2]
    sampled = grid_sample(
        torch.from_numpy(np.ascontiguousarray(depth))[None, None].double(),
        torch.from_numpy(2 * xy / depth.shape[::-1] - 1)[None],
        mode=interpolation,
        padding_mode="border",
        align_corners=False,
    )
    return np.asarray(sampled[0, 0].float().numpy())
