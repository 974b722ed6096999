"""What the small network learns from: pointmaps relative to their distance, and which tokens match."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy

from dust3r_sfm.network.mini import MiniPrediction
from dust3r_sfm.network.network import NetworkPrediction
from dust3r_sfm.training.losses import Loss, Target
from dust3r_sfm.training.scale import normalize

_GAIN, _OFFSET_OF_SCALE = 1.25, 0.25
"""An error is gain times distance over (distance of the truth + offset): near points do not count without bound. Both
chosen by hand, so that the factor is 1 at the scale's own distance."""
_SAME_POINT_STEPS = 1.2
"""Points are one if they are closer than this many sampling steps, at the focal length of the picture's longer side:
chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class MiniLoss:
    """Confidence-weighted relative regression, and InfoNCE between tokens.

    The truth alone is brought to one scale (the prediction must find it), errors are divided by the distance from the
    camera, and tokens are told which token of the other view shows the same point.

    Attributes:
        alpha: what a pixel may gain by being unsure; a small one lets the confidence collapse to its floor.
        matching: weight of the tokens' loss.
        sky: what a pixel of the sky counts, whatever is predicted there, so that its confidence is learned to be low.
    """

    alpha: float = 1.0
    matching: float = 0.3
    sky: float = 2.0

    def __call__(self, prediction: NetworkPrediction, target: Target) -> Loss:
        """Give the loss; and to log: errors and confidences of the views, and the share of tokens that match right."""
        true1, true2, _ = normalize(target.points1, target.points2, target.valid1, target.valid2)
        loss1, error1 = self._regression(prediction.points1, prediction.confidence1, true1, target.valid1, target.sky1)
        loss2, error2 = self._regression(prediction.points2, prediction.confidence2, true2, target.valid2, target.sky2)
        loss = loss1 + loss2
        details = {
            "points1": error1,
            "points2": error2,
            "confidence1": float(prediction.confidence1.detach().mean()),
            "confidence2": float(prediction.confidence2.detach().mean()),
        }
        if isinstance(prediction, MiniPrediction):
            partner, known = token_partners(target, prediction.matches.shape[1])
            logits = prediction.matches.float()
            each = cross_entropy(logits.mT, partner, reduction="none")
            loss = loss + self.matching * _mean(each, known)
            right = (logits.detach().argmax(-1) == partner).float()
            details["matched"] = float(_mean(right, known))
        return loss, details

    def _regression(
        self,
        predicted: Float[Tensor, "b h w 3"],
        confidence: Float[Tensor, "b h w"],
        truth: Float[Tensor, "b h w 3"],
        valid: Bool[Tensor, "b h w"],
        sky: Bool[Tensor, "b h w"] | None,
    ) -> tuple[Float[Tensor, ""], float]:
        truth = truth.where(valid[..., None], truth.new_zeros(()))
        distance = (predicted - truth).where(valid[..., None], truth.new_zeros(()))
        errors = _GAIN * torch.linalg.vector_norm(distance, dim=-1) / (truth.norm(dim=-1) + _OFFSET_OF_SCALE)
        mean = float(_mean(errors.detach(), valid))
        counted = valid
        if sky is not None:
            errors, counted = errors.where(~sky, errors.new_tensor(self.sky)), valid | sky
        return _mean(errors * confidence - self.alpha * confidence.log(), counted), mean


def token_partners(target: Target, num_tokens: int) -> tuple[Int64[Tensor, "b n"], Bool[Tensor, "b n"]]:
    """Which token of view 2 shows the point in the middle of each token of view 1, and where there is one.

    Args:
        target: the truth.
        num_tokens: of view 1; both views have square patches of the same size.
    """
    patch = round((target.valid1[0].numel() / num_tokens) ** 0.5)
    middle, step = patch // 2, max(patch // 4, 1)
    points1 = target.points1[:, middle::patch, middle::patch].flatten(1, 2)
    valid1 = target.valid1[:, middle::patch, middle::patch].flatten(1, 2)
    sampled = target.points2[:, ::step, ::step]
    valid2 = target.valid2[:, ::step, ::step].flatten(1, 2)
    columns = sampled.shape[2]
    far = sampled.new_tensor(1e6)
    apart = torch.cdist(points1, sampled.flatten(1, 2).where(valid2[..., None], far))
    nearest = apart.min(dim=-1)
    near = _SAME_POINT_STEPS * step / max(target.valid1.shape[1:])
    known = valid1 & (nearest.values < near * points1.norm(dim=-1))
    row, column = nearest.indices // columns * step // patch, nearest.indices % columns * step // patch
    return row * (target.valid2.shape[2] // patch) + column, known


def _mean(values: Tensor, counted: Bool[Tensor, "*b"]) -> Float[Tensor, ""]:
    """Mean of what counts; 0, with a gradient of 0, where there is nothing."""
    return values.where(counted, values.new_zeros(())).sum() / counted.sum().clamp_min(1)
