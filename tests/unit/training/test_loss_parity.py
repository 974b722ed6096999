"""Every training fixture of the reference network's losses."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from dust3r_sfm.network.network import NetworkPrediction
from dust3r_sfm.training.losses import Confident, InvariantRegression, Regression, Target
from dust3r_sfm.training.matching_loss import info_nce
from dust3r_sfm.training.scale import fit_scale, normalize

PARITY = (
    Path(os.environ.get("DUST3R_SFM_DATA", Path(__file__).parents[4] / "shared" / "data")).parent / "reference/parity"
)
pytestmark = pytest.mark.data

REGRESSIONS = {
    "Regr3D_avg_dis": Regression(),
    "Regr3D_avg_dis_gtscale": Regression(keep_truth=True),
    "Regr3D_nonorm": Regression(norm_mode=None),
    "Regr3D_ShiftInv": InvariantRegression(scale=False),
    "Regr3D_ScaleInv": InvariantRegression(shift=False),
    "Regr3D_ScaleShiftInv": InvariantRegression(),
    "Regr3D_ScaleShiftInv_gtscale": InvariantRegression(keep_truth=True),
    "ConfLoss_a0.2": Confident(alpha=0.2),
}


@pytest.fixture(scope="module")
def expected():
    if not PARITY.is_dir():
        pytest.skip(f"no fixtures at {PARITY}")
    return dict(np.load(PARITY / "geometry_expected.npz"))


@pytest.fixture(scope="module")
def prediction(expected):
    given = np.load(PARITY / "geometry_inputs.npz")
    rows = expected["loss.pred_edges"]
    first, second = torch.tensor(given["pred_i"][rows]), torch.tensor(given["pred_j"][rows])
    confidence = torch.tensor(given["conf_i"][rows]), torch.tensor(given["conf_j"][rows])
    return NetworkPrediction(points1=first, confidence1=confidence[0], points2=second, confidence2=confidence[1])


@pytest.fixture(scope="module")
def target(expected):
    cam_from_world = torch.linalg.inv(torch.tensor(expected["loss.gt1.camera_pose"]).double())
    points = [torch.tensor(expected[f"loss.gt{view}.pts3d"]).double() for view in (1, 2)]
    moved = [torch.einsum("bij,bhwj->bhwi", cam_from_world[:, :3, :3], part) for part in points]
    moved = [(part + cam_from_world[:, None, None, :3, 3]).float() for part in moved]
    valid = [torch.tensor(expected[f"loss.valid{view}"]) for view in (1, 2)]
    return Target(points1=moved[0], points2=moved[1], valid1=valid[0], valid2=valid[1])


@pytest.mark.parametrize("name", REGRESSIONS)
def test_regressions(name, expected, prediction, target):
    loss, _ = REGRESSIONS[name](prediction, target)
    assert float(loss) == pytest.approx(float(expected[f"loss.{name}"]), rel=1e-5)


@pytest.mark.parametrize("mode", ["avg_dis", "avg_log1p", "avg_warp-log1p", "median_dis", "sqrt_dis"])
def test_normalization(mode, expected, prediction, target):
    points1, points2, factors = normalize(prediction.points1, prediction.points2, target.valid1, target.valid2, mode)
    np.testing.assert_allclose(factors, expected[f"normalize.{mode}.factor"], rtol=1e-5)
    mean = [float(part.abs().double().mean()) for part in (points1, points2)]
    np.testing.assert_allclose(mean, expected[f"normalize.{mode}.absmean"], rtol=1e-5)


@pytest.mark.parametrize("mode", ["avg", "median", "weiszfeld"])
def test_fitted_scales(mode, expected, prediction, target):
    both = [
        torch.cat([a.flatten(1, 2), b.flatten(1, 2)], 1)
        for a, b in ((prediction.points1, prediction.points2), (target.points1, target.points2))
    ]
    valid = torch.cat([target.valid1.flatten(1), target.valid2.flatten(1)], 1)
    np.testing.assert_allclose(fit_scale(*both, valid, mode), expected[f"opt_scaling.{mode}"], rtol=1e-5)


@pytest.mark.parametrize("contrast", ["all", "proper", "dual"])
def test_info_nce(contrast, expected):
    given = np.load(PARITY / "geometry_desc_inputs.npz")
    first, second = (torch.tensor(given[name].reshape(-1, 24)[::37][:64])[None] for name in ("desc11", "desc21"))
    valid = torch.tensor(expected["infonce.valid"])
    losses = info_nce(first, second, valid, 0.05, contrast)
    assert float(losses[valid].mean()) == pytest.approx(float(expected[f"infonce.{contrast}"]), rel=1e-5)
