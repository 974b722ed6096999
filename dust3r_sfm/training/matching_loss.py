"""InfoNCE on matching descriptors (MASt3R, section 3.2; van den Oord et al. 2018)."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Contrast = Literal["proper", "dual", "all"]


def info_nce(
    descriptors1: Float[Tensor, "b n d"],
    descriptors2: Float[Tensor, "b n d"],
    valid: Bool[Tensor, "b n"],
    temperature: float = 0.05,
    contrast: Contrast = "proper",
) -> Float[Tensor, "b n"]:
    """Loss of each correspondence, 0 where it is not valid.

    Args:
        descriptors1, descriptors2: unit descriptors; equal rows correspond, and every other row is a wrong candidate.
        valid: the rows that are correspondences; the others serve as wrong candidates only.
        temperature: of the softmax.
        contrast: each descriptor against the candidates of the other image, in both directions (`proper`; `dual` is
            the same as one product), or each correspondence against all pairings (`all`).
    """
    logits = descriptors1 @ descriptors2.mT / temperature
    matched = logits.diagonal(dim1=-2, dim2=-1)
    if contrast == "all":
        losses = logits.flatten(1).logsumexp(dim=1, keepdim=True) - matched
    else:
        losses = logits.logsumexp(dim=2) + logits.logsumexp(dim=1) - 2 * matched
    return losses.where(valid, losses.new_zeros(()))


def confident_matching(
    losses: Float[Tensor, "b n"], confidence: Float[Tensor, "b n"], valid: Bool[Tensor, "b n"], alpha: float = 10.0
) -> Float[Tensor, ""]:
    """Confidence-weighted matching: loss · c − alpha · log c, with c the mean of both descriptors' confidences.

    Returns:
        The mean over the valid correspondences; 0 where there is none.
    """
    weighted = losses * confidence - alpha * torch.log(confidence)
    return weighted.where(valid, weighted.new_zeros(())).sum() / valid.sum().clamp_min(1)
