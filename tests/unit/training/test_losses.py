"""Properties of the losses that no fixture shows: what they must not see, and that gradients stay finite."""

import math

import pytest
import torch

from dust3r_sfm.network.network import NetworkPrediction
from dust3r_sfm.training.losses import Confident, InvariantRegression, Regression, Target
from dust3r_sfm.training.matching_loss import confident_matching, info_nce
from dust3r_sfm.training.scale import fit_scale, normalize

MODES = ("avg_dis", "avg_log1p", "avg_warp-log1p", "median_dis", "sqrt_dis")


def points(seed: int, batch: int = 2, height: int = 6, width: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(batch, height, width, 3, generator=generator)
    return drawn + torch.tensor([0.0, 0.0, 4.0])


def prediction_of(points1: torch.Tensor, points2: torch.Tensor, confidence: float = 2.0) -> NetworkPrediction:
    return NetworkPrediction(
        points1=points1,
        points2=points2,
        confidence1=torch.full(points1.shape[:3], confidence),
        confidence2=torch.full(points2.shape[:3], confidence),
    )


def target_of(points1: torch.Tensor, points2: torch.Tensor, **more: torch.Tensor) -> Target:
    return Target(points1=points1, points2=points2, valid1=points1[..., 2] > 3, valid2=points2[..., 2] > 3, **more)


def test_a_pair_s_scale_does_not_matter_and_its_error_does():
    truth = points(0), points(1)
    factors = torch.tensor([3.0, 0.2])[:, None, None, None]
    scaled = prediction_of(truth[0] * factors, truth[1] * factors)
    assert float(Regression()(scaled, target_of(*truth))[0]) < 1e-6
    wrong = prediction_of(truth[0] * factors, truth[1] * factors * 1.1)
    assert float(Regression()(wrong, target_of(*truth))[0]) > 0.05


def test_invariant_regression_is_blind_to_depth_offsets():
    truth = points(0), points(1)
    moved = [part * 2.5 + torch.tensor([0.0, 0.0, 7.0]) for part in truth]
    assert float(InvariantRegression(keep_truth=True)(prediction_of(*moved), target_of(*truth))[0]) < 1e-5
    assert float(Regression()(prediction_of(*moved), target_of(*truth))[0]) > 0.1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("criterion", [Regression, InvariantRegression])
def test_pixels_without_truth_are_not_seen_and_gradients_are_finite(mode, criterion):
    truth = points(0), points(1)
    target = target_of(*truth)
    predicted = [part.clone() + 0.1 for part in truth]
    expected = float(criterion(norm_mode=mode)(prediction_of(*predicted), target)[0])
    spoilt = Target(
        points1=truth[0].where(target.valid1[..., None], torch.nan),
        points2=truth[1].where(target.valid2[..., None], torch.inf),
        valid1=target.valid1,
        valid2=target.valid2,
    )
    predicted[0][~target.valid1] = 0.0
    leaves = [part.requires_grad_() for part in predicted]
    loss, _ = criterion(norm_mode=mode)(prediction_of(*leaves), spoilt)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    loss.backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)
    assert (leaves[1].grad[~target.valid2] == 0).all()


def test_a_pair_without_any_truth_costs_nothing():
    first = points(0).requires_grad_()
    nothing = torch.zeros(first.shape[:3], dtype=torch.bool)
    target = Target(points1=points(0), points2=points(1), valid1=nothing, valid2=nothing)
    loss, _ = Confident()(prediction_of(first, points(1)), target)
    assert float(loss) == 0
    loss.backward()
    assert (first.grad == 0).all()


def test_confidence_is_best_where_the_paper_says():
    """The loss e·c − α·log c has its minimum at c = α / e."""
    truth = points(0), points(1)
    target = target_of(*truth)
    predicted = truth[0] + 0.3, truth[1]
    error = Regression(norm_mode=None).distances(prediction_of(*predicted), target)[0][0][target.valid1].mean()
    alpha = 2.0
    best = alpha / float(error)
    losses = [
        float(Confident(regression=Regression(norm_mode=None), alpha=alpha)(prediction_of(*predicted, c), target)[0])
        + alpha * math.log(c)  # view 2 is exact: its share is −α·log c
        for c in (0.5 * best, best, 2 * best)
    ]
    assert losses[1] < losses[0] and losses[1] < losses[2]


def test_metric_pairs_keep_their_scale():
    truth = points(0), points(1)
    doubled = prediction_of(2 * truth[0], 2 * truth[1])
    criterion = Regression(keep_metric=True)
    assert float(criterion(doubled, target_of(*truth, metric=torch.tensor([False, False])))[0]) < 1e-6
    assert float(criterion(doubled, target_of(*truth, metric=torch.tensor([True, True])))[0]) > 0.5


def test_the_sky_counts_its_fixed_loss():
    truth = points(0), points(1)
    sky = truth[0][..., 2] <= 3
    target = target_of(*truth, sky1=sky)
    share = float(sky.sum() / (sky.sum() + target.valid1.sum()))
    loss, _ = Regression(sky_loss=2.0)(prediction_of(*truth), target)
    assert float(loss) == pytest.approx(2.0 * share, rel=1e-5)


@pytest.mark.parametrize("mode", ["avg", "median", "weiszfeld"])
def test_fitted_scale_finds_the_factor_and_ignores_invalid_points(mode):
    truth = points(0).flatten(1, 2)
    predicted = truth * torch.tensor([0.5, 4.0])[:, None, None]
    valid = torch.ones(truth.shape[:2], dtype=torch.bool)
    valid[:, ::3] = False
    predicted[:, ::3] = torch.nan
    torch.testing.assert_close(fit_scale(predicted, truth, valid, mode), torch.tensor([0.5, 4.0]))


def test_normalised_points_have_mean_distance_one():
    points1, points2 = points(0), points(1)
    valid = torch.ones(points1.shape[:3], dtype=torch.bool)
    first, second, _ = normalize(points1, points2, valid, valid)
    distances = torch.cat([first.flatten(1, 2), second.flatten(1, 2)], dim=1).norm(dim=-1)
    torch.testing.assert_close(distances.mean(dim=1), torch.ones(2))


def test_matching_prefers_the_right_partner():
    generator = torch.Generator().manual_seed(0)
    descriptors = torch.nn.functional.normalize(torch.randn(1, 40, 24, generator=generator), dim=-1)
    valid = torch.ones(1, 40, dtype=torch.bool)
    right = info_nce(descriptors, descriptors, valid)
    wrong = info_nce(descriptors, descriptors.roll(1, dims=1), valid)
    assert float(right.mean()) < 0.1 < 5 < float(wrong.mean())
    sure = confident_matching(right, torch.full((1, 40), 3.0), valid)
    unsure = confident_matching(right, torch.full((1, 40), 1.0), valid)
    assert float(sure) < float(unsure)
    assert float(confident_matching(wrong, torch.ones(1, 40), ~valid)) == 0
