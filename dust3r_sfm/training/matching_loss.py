"""What MASt3R learns from: pointmaps, and InfoNCE on descriptors of pixels that show the same point.

Leroy et al. 2024, section 3.2; van den Oord et al. 2018.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from dust3r_sfm.errors import TrainingError
from dust3r_sfm.network.network import NetworkPrediction
from dust3r_sfm.training.losses import Confident, Loss, Regression, Target

Contrast = Literal["proper", "dual", "all"]

_SAME_POINT_STEPS = 1.2
"""Points are one if they are closer than this many pixels, at the focal length of the picture's longer side: chosen by
hand."""
_COARSE_SIDE_PX = 48
"""Shorter side of the grid that the first search for a partner looks at: chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class MatchingLoss:
    """Confidence-weighted regression, and confidence-weighted InfoNCE of the pixels that show the same point.

    Weight, temperature and alpha are those of the training command released with MASt3R, the number of pixels the
    paper's.

    Attributes:
        confident: the loss of the pointmaps; metric pairs keep their unit.
        weight: of the matching loss.
        temperature: see `info_nce`.
        alpha: see `confident_matching`.
        num_correspondences: pixels of view 1 that are drawn; those without a partner serve as wrong candidates.
    """

    confident: Confident = field(
        default_factory=lambda: Confident(regression=Regression(keep_metric=True, sky_loss=2.0))
    )
    weight: float = 0.075
    temperature: float = 0.05
    alpha: float = 10.0
    num_correspondences: int = 4096

    def __call__(self, prediction: NetworkPrediction, target: Target) -> Loss:
        """Give the loss; and to log: what the pointmaps give, the matching loss, and the share that matches right.

        Raises:
            TrainingError: the network has no descriptors.
        """
        if prediction.descriptors1 is None or prediction.descriptors2 is None:
            raise TrainingError("The matching loss needs a network with descriptors; choose the preset mast3r-512.")
        loss, details = self.confident(prediction, target)
        first, second, valid = correspondences(target, self.num_correspondences)
        descriptors1, descriptors2 = _picked(prediction.descriptors1, first), _picked(prediction.descriptors2, second)
        each = info_nce(descriptors1, descriptors2, valid, self.temperature)
        assert prediction.descriptor_confidence1 is not None and prediction.descriptor_confidence2 is not None
        confidence = (
            _picked(prediction.descriptor_confidence1[..., None], first)
            + _picked(prediction.descriptor_confidence2[..., None], second)
        )[..., 0] / 2
        matching = confident_matching(each, confidence, valid, self.alpha)
        nearest = (descriptors1.detach() @ descriptors2.detach().mT).argmax(dim=2)
        right = nearest == torch.arange(nearest.shape[1], device=nearest.device)
        details["matching"] = float(matching.detach())
        details["matched"] = float((right & valid).sum() / valid.sum().clamp_min(1))
        return loss + self.weight * matching, details


def correspondences(
    target: Target, count: int
) -> tuple[Int64[Tensor, "b n"], Int64[Tensor, "b n"], Bool[Tensor, "b n"]]:
    """Pixels of two views that show the same point.

    Pixels of view 1 are drawn where their point is known, and the nearest point of view 2 is looked for, on a coarse
    grid and then around what was found there. Of several pixels with one partner the nearest keeps it; the others, and
    those without a partner, become a random pixel of each view. The draws follow from the truth alone, so that a
    resumed run makes the same ones.

    Args:
        target: the truth.
        count: pixels to draw of each pair; fewer where view 1 is smaller.

    Returns:
        Flat pixel indices into view 1 and view 2, and which of them correspond.
    """
    found = [_of_pair(target, row, count) for row in range(len(target.points1))]
    first, second, valid = (torch.stack(parts) for parts in zip(*found, strict=True))
    return first, second, valid


def _of_pair(target: Target, row: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    points1, valid1 = target.points1[row].flatten(0, 1), target.valid1[row].flatten()
    points2, valid2, device = target.points2[row], target.valid2[row], points1.device
    height, width = valid2.shape
    generator = torch.Generator().manual_seed(int(valid1.sum()) + (int(valid2.sum()) << 24))
    order = torch.rand(len(points1), generator=generator).to(device)
    first = (order + valid1).topk(min(count, len(points1))).indices
    others = [
        torch.randint(size, first.shape, generator=generator).to(device) for size in (len(points1), height * width)
    ]
    away = torch.full_like(points2, torch.inf)
    known2 = points2.where(valid2[..., None], away)
    wanted = points1[first].where(valid1[first][:, None], points1.new_zeros(()))
    step = max(1, min(height, width) // _COARSE_SIDE_PX)
    coarse = known2[step // 2 :: step, step // 2 :: step]
    candidates = coarse.reshape(-1, 3).nan_to_num(posinf=1e9)
    near = torch.cdist(wanted, candidates, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
    middle_row, middle_column = near // coarse.shape[1] * step + step // 2, near % coarse.shape[1] * step + step // 2
    offsets = torch.arange(-step, step + 1, device=device)
    rows = (middle_row[:, None, None] + offsets[:, None]).clamp(0, height - 1)
    columns = (middle_column[:, None, None] + offsets).clamp(0, width - 1)
    window = (rows * width + columns).flatten(1)
    apart = (known2.flatten(0, 1)[window] - wanted[:, None]).norm(dim=-1)
    distance, place = apart.min(dim=1)
    second = window.gather(1, place[:, None])[:, 0]
    limit = _SAME_POINT_STEPS / max(height, width) * wanted.norm(dim=-1)
    best = distance.new_full((height * width,), torch.inf).scatter_reduce(0, second, distance, "amin")
    kept = valid1[first] & (distance < limit) & (distance <= best[second])
    return first.where(kept, others[0]), second.where(kept, others[1]), kept


def _picked(maps: Float[Tensor, "b h w d"], pixels: Int64[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
    return torch.stack([each.flatten(0, 1)[chosen] for each, chosen in zip(maps, pixels, strict=True)])


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
