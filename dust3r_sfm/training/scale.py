"""The scale of a pair's pointmaps: what a loss divides by, since a pair of photographs says nothing about metres."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

NormMode = Literal["avg_dis", "avg_log1p", "avg_warp-log1p", "median_dis", "sqrt_dis"]
FitMode = Literal["avg", "median", "weiszfeld"]

_MIN_SCALE = 1e-8
"""Keeps a division finite: Wang et al. 2024, released code."""
_NUM_WEISZFELD_STEPS = 10
"""As released with DUSt3R."""


def normalize(
    points1: Float[Tensor, "b h1 w1 3"],
    points2: Float[Tensor, "b h2 w2 3"],
    valid1: Bool[Tensor, "b h1 w1"],
    valid2: Bool[Tensor, "b h2 w2"],
    mode: NormMode = "avg_dis",
) -> tuple[Float[Tensor, "b h1 w1 3"], Float[Tensor, "b h2 w2 3"], Float[Tensor, " b"]]:
    """Divide both pointmaps of each pair by one factor (DUSt3R, equation 3).

    Args:
        points1, points2: pointmaps in camera 1's frame.
        valid1, valid2: the pixels that count; where none does the factor is the smallest there is.
        mode: how distances to the origin become a factor: their mean (`avg_dis`), the mean of log(1 + distance)
            (`avg_log1p`), the same with the points pulled in to that distance first (`avg_warp-log1p`), their lower
            median, constant for the gradient (`median_dis`), or the squared mean of their roots (`sqrt_dis`).

    Returns:
        The divided pointmaps, and the factors.
    """
    both = torch.cat([points1.flatten(1, 2), points2.flatten(1, 2)], dim=1)
    valid = torch.cat([valid1.flatten(1), valid2.flatten(1)], dim=1)
    # An invalid pixel may hold anything, infinities too; it must reach neither the sum nor its gradient.
    distances = both.where(valid[..., None], both.new_ones(())).norm(dim=-1)
    if mode == "avg_warp-log1p":
        warp = distances.log1p() / distances.clamp_min(_MIN_SCALE) * valid
        warp1, warp2 = warp.split([valid1[0].numel(), valid2[0].numel()], dim=1)
        points1 = points1 * warp1.unflatten(1, valid1.shape[1:])[..., None]
        points2 = points2 * warp2.unflatten(1, valid2.shape[1:])[..., None]
    factors = _factors(distances, valid, mode).clamp_min(_MIN_SCALE)
    divisor = factors[:, None, None, None]
    return points1 / divisor, points2 / divisor, factors


def _factors(distances: Float[Tensor, "b n"], valid: Bool[Tensor, "b n"], mode: NormMode) -> Float[Tensor, " b"]:
    count = valid.sum(dim=1).clamp_min(1)
    if mode == "median_dis":
        medians = distances.detach().where(valid, torch.nan).nanmedian(dim=1).values
        return medians.nan_to_num(0.0)
    if mode == "sqrt_dis":
        return ((distances.sqrt() * valid).sum(dim=1) / count).square()
    if mode != "avg_dis":
        distances = distances.log1p()
    return (distances * valid).sum(dim=1) / count


def fit_scale(
    predicted: Float[Tensor, "b n 3"],
    truth: Float[Tensor, "b n 3"],
    valid: Bool[Tensor, "b n"],
    mode: FitMode = "weiszfeld",
) -> Float[Tensor, " b"]:
    """Find the factor s of each pair with predicted ≈ s · truth.

    Args:
        predicted, truth: corresponding points.
        valid: the points that count.
        mode: least squares (`avg`), median of the points' own factors (`median`), or least absolute distances by
            iterated reweighting (`weiszfeld`).
    """
    zero = predicted.new_zeros(())
    predicted, truth = predicted.where(valid[..., None], zero), truth.where(valid[..., None], zero)
    product, square = (predicted * truth).sum(dim=-1), truth.square().sum(dim=-1)
    if mode == "median":
        return (product / square).where(valid, torch.nan).nanmedian(dim=1).values
    scales = product.mean(dim=1) / square.mean(dim=1)
    if mode == "weiszfeld":
        for _ in range(_NUM_WEISZFELD_STEPS):
            weights = (predicted - scales[:, None, None] * truth).norm(dim=-1).clamp_min(_MIN_SCALE).reciprocal()
            scales = (weights * product).mean(dim=1) / (weights * square).mean(dim=1)
    return scales
