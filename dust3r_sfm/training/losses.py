"""What the network is trained and judged by (DUSt3R, section 3.2; MASt3R, section 3.2).

A criterion takes a prediction and a `Target` and gives one number to minimize and a few to log.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dust3r_sfm.network.network import NetworkPrediction
from dust3r_sfm.training.scale import NormMode, normalize

Loss = tuple[Float[Tensor, ""], dict[str, float]]
Distances = tuple[Float[Tensor, "b h w"], Bool[Tensor, "b h w"]]
Criterion = Callable[[NetworkPrediction, "Target"], Loss]

_SCALE_LIMITS = (1e-3, 1e3)
"""Of a predicted scale: Wang et al. 2024, released code."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The truth of a batch of pairs.

    Attributes:
        points1, points2: pointmaps in camera 1's frame; invalid pixels may hold anything.
        valid1, valid2: pixels whose point is known.
        metric: pairs whose unit is the metre, for criteria that keep it (b,).
        sky1, sky2: pixels known to show the sky, for criteria that count them; never valid at the same time.
    """

    points1: Float[Tensor, "b h1 w1 3"]
    points2: Float[Tensor, "b h2 w2 3"]
    valid1: Bool[Tensor, "b h1 w1"]
    valid2: Bool[Tensor, "b h2 w2"]
    metric: Bool[Tensor, " b"] | None = None
    sky1: Bool[Tensor, "b h1 w1"] | None = None
    sky2: Bool[Tensor, "b h2 w2"] | None = None

    def to(self, device: torch.device) -> "Target":
        """The same on a device."""
        return replace(
            self,
            **{name: value.to(device, non_blocking=True) for name, value in vars(self).items() if value is not None},
        )


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Prediction and truth brought to the same scale, in camera 1's frame."""

    predicted1: Float[Tensor, "b h1 w1 3"]
    predicted2: Float[Tensor, "b h2 w2 3"]
    truth1: Float[Tensor, "b h1 w1 3"]
    truth2: Float[Tensor, "b h2 w2 3"]


@dataclass(frozen=True, kw_only=True)
class Regression:
    """Scale-normalized pointmap regression: the mean distance over each view's valid pixels, summed.

    Attributes:
        norm_mode: see `scale.normalize`; None compares the points as they are.
        keep_truth: the truth is not normalized, the prediction is brought to its scale.
        keep_metric: pairs marked metric are not normalized (MASt3R): their prediction is divided by the truth's factor.
        sky_loss: what a pixel of the sky counts, whatever is predicted there, so that its confidence is learned to be
            low (MASt3R: 2); None leaves the sky out.
    """

    norm_mode: NormMode | None = "avg_dis"
    keep_truth: bool = False
    keep_metric: bool = False
    sky_loss: float | None = None

    def __call__(self, prediction: NetworkPrediction, target: Target) -> Loss:
        """Give the loss, and each view's share."""
        (distances1, counted1), (distances2, counted2) = self.distances(prediction, target)
        loss1, loss2 = _mean(distances1, counted1), _mean(distances2, counted2)
        return loss1 + loss2, {"points1": float(loss1.detach()), "points2": float(loss2.detach())}

    def distances(self, prediction: NetworkPrediction, target: Target) -> tuple[Distances, Distances]:
        """Per view: distance of each predicted point to its truth, and which pixels count (the others are 0)."""
        compared = self.compare(prediction, target)
        first = _distance(compared.predicted1, compared.truth1, target.valid1)
        second = _distance(compared.predicted2, compared.truth2, target.valid2)
        return self._with_sky(first, target.valid1, target.sky1), self._with_sky(second, target.valid2, target.sky2)

    def _with_sky(
        self, distances: Float[Tensor, "b h w"], valid: Bool[Tensor, "b h w"], sky: Bool[Tensor, "b h w"] | None
    ) -> Distances:
        if self.sky_loss is None or sky is None:
            return distances, valid
        return distances.where(~sky, distances.new_tensor(self.sky_loss)), valid | sky

    def compare(self, prediction: NetworkPrediction, target: Target) -> Compared:
        """Bring prediction and truth to one scale."""
        predicted1, predicted2 = prediction.points1, prediction.points2
        truth1, truth2 = target.points1, target.points2
        if self.norm_mode is None:
            return Compared(predicted1=predicted1, predicted2=predicted2, truth1=truth1, truth2=truth2)
        valid = (target.valid1, target.valid2)
        normal1, normal2, _ = normalize(predicted1, predicted2, *valid, self.norm_mode)
        true1, true2, factors = normalize(truth1, truth2, *valid, self.norm_mode)
        if self.keep_metric and target.metric is not None:
            metric = target.metric[:, None, None, None]
            divisor = factors[:, None, None, None]
            normal1, normal2 = (
                normal1.where(~metric, predicted1 / divisor),
                normal2.where(~metric, predicted2 / divisor),
            )
        if self.keep_truth:
            true1, true2 = truth1, truth2
        return Compared(predicted1=normal1, predicted2=normal2, truth1=true1, truth2=true2)


@dataclass(frozen=True, kw_only=True)
class InvariantRegression(Regression):
    """`Regression` for validation, blind to what a pair cannot tell.

    Attributes:
        shift: the joint median depth of both views is subtracted, of prediction and of truth.
        scale: both are then divided by the median distance to their median point; with `keep_truth` the prediction is
            brought to the truth's.
    """

    shift: bool = True
    scale: bool = True

    def compare(self, prediction: NetworkPrediction, target: Target) -> Compared:
        """Bring prediction and truth to one scale and depth."""
        compared = super().compare(prediction, target)
        predicted, true = (compared.predicted1, compared.predicted2), (compared.truth1, compared.truth2)
        valid = (target.valid1, target.valid2)
        if self.shift:
            predicted, true = _without_depth(predicted, valid), _without_depth(true, valid)
        if self.scale:
            predicted_size, true_size = _size(predicted, valid).clamp(*_SCALE_LIMITS), _size(true, valid)
            if self.keep_truth:
                predicted = _times(predicted, true_size / predicted_size)
            else:
                predicted, true = _times(predicted, 1 / predicted_size), _times(true, 1 / true_size)
        return Compared(predicted1=predicted[0], predicted2=predicted[1], truth1=true[0], truth2=true[1])


@dataclass(frozen=True, kw_only=True)
class Confident:
    """Confidence-weighted regression (DUSt3R, equation 4): distance · c − alpha · log c per pixel.

    Attributes:
        regression: gives the distances.
        alpha: what a pixel may gain by being unsure.
    """

    regression: Regression = Regression()
    alpha: float = 0.2

    def __call__(self, prediction: NetworkPrediction, target: Target) -> Loss:
        """Give the loss, the plain regression of each view, and its mean confidence."""
        (distances1, counted1), (distances2, counted2) = self.regression.distances(prediction, target)
        loss1 = self._weighted(distances1, prediction.confidence1, counted1)
        loss2 = self._weighted(distances2, prediction.confidence2, counted2)
        return loss1 + loss2, {
            "points1": float(_mean(distances1, counted1).detach()),
            "points2": float(_mean(distances2, counted2).detach()),
            "confidence1": float(_mean(prediction.confidence1, counted1).detach()),
            "confidence2": float(_mean(prediction.confidence2, counted2).detach()),
        }

    def _weighted(
        self, distances: Float[Tensor, "b h w"], confidence: Float[Tensor, "b h w"], valid: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, ""]:
        return _mean(distances * confidence - self.alpha * confidence.log(), valid)


def _mean(values: Float[Tensor, "b h w"], valid: Bool[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """Mean over the valid pixels of the batch; 0, with a gradient of 0, where there is none."""
    return values.where(valid, values.new_zeros(())).sum() / valid.sum().clamp_min(1)


def _distance(
    predicted: Float[Tensor, "b h w 3"], truth: Float[Tensor, "b h w 3"], valid: Bool[Tensor, "b h w"]
) -> Float[Tensor, "b h w"]:
    difference = (predicted - truth).where(valid[..., None], predicted.new_zeros(()))
    distances: Float[Tensor, "b h w"] = torch.linalg.vector_norm(difference, dim=-1)
    return distances


def _joint_median(
    first: Float[Tensor, "b h1 w1"], second: Float[Tensor, "b h2 w2"], valid: tuple[Tensor, Tensor]
) -> Float[Tensor, " b"]:
    """Lower median over the valid pixels of both views; 0 where there is none."""
    both: Tensor = torch.cat(
        [first.where(valid[0], torch.nan).flatten(1), second.where(valid[1], torch.nan).flatten(1)], dim=1
    )
    return both.nanmedian(dim=1).values.nan_to_num(0.0)


def _without_depth(points: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    shift = _joint_median(points[0][..., 2], points[1][..., 2], valid)
    offset = torch.stack([torch.zeros_like(shift), torch.zeros_like(shift), shift], dim=-1)[:, None, None]
    return points[0] - offset, points[1] - offset


def _size(points: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor]) -> Float[Tensor, " b"]:
    """Median distance of a pair's points to their coordinate-wise median."""
    middle = torch.stack([_joint_median(points[0][..., k], points[1][..., k], valid) for k in range(3)], dim=-1)
    from_middle = [(part - middle[:, None, None]).norm(dim=-1) for part in points]
    return _joint_median(from_middle[0], from_middle[1], valid)


def _times(points: tuple[Tensor, Tensor], factors: Float[Tensor, " b"]) -> tuple[Tensor, Tensor]:
    factor = factors[:, None, None, None]
    return points[0] * factor, points[1] * factor
