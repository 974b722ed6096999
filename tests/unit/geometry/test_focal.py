import os
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.geometry.focal import weiszfeld_focal
from dust3r_sfm.geometry.pinhole import intrinsics, unproject

PARITY = Path(os.environ.get("DUST3R_SFM_PARITY", "../shared/reference/parity"))


def _points(focal: float, principal_point: tuple[float, float] | None = None) -> np.ndarray:
    depth = np.random.default_rng(0).uniform(1, 4, (48, 64))
    return unproject(depth, intrinsics(focal, (64, 48), principal_point))


@pytest.mark.parametrize("focal", [20.0, 60.0, 300.0])
@pytest.mark.parametrize("principal_point", [None, (40.0, 20.0)])
def test_exact_points_give_the_exact_focal(focal, principal_point):
    found = weiszfeld_focal(_points(focal, principal_point), principal_point=principal_point)
    assert found == pytest.approx(focal, rel=1e-9)


def test_a_quarter_of_wild_points_hardly_moves_it():
    points, rng = _points(60.0), np.random.default_rng(1)
    wild = rng.uniform(size=points.shape[:2]) < 0.25
    points[wild] *= rng.uniform(0.3, 3, (wild.sum(), 3))
    assert weiszfeld_focal(points) == pytest.approx(60, rel=0.02)
    confidence = np.where(wild, 1e-6, 1.0)
    assert weiszfeld_focal(points, confidence) == pytest.approx(60, rel=1e-4)


def test_zero_depth_nan_and_zero_confidence_do_not_count():
    points = _points(60.0)
    points[::7, ::5, 2] = 0
    points[3, 3] = 0
    points[4] = np.nan
    points[5, :, 2] = -1
    points[6] += 10
    confidence = np.ones(points.shape[:2])
    confidence[6] = 0
    assert weiszfeld_focal(points, confidence) == pytest.approx(60, rel=1e-9)
    assert weiszfeld_focal(points, confidence, stride=3) == pytest.approx(60, rel=1e-9)


def test_the_default_lattice_gives_the_focal_of_all_pixels():
    rng = np.random.default_rng(2)
    depth = rng.uniform(1, 4, (192, 256))
    points = unproject(depth, intrinsics(240.0, (256, 192)))
    points[..., :2] += rng.normal(0, 0.5, (192, 256, 2)) / 240 * depth[..., None]
    points[rng.uniform(size=depth.shape) < 0.05] *= [1.3, 1.3, 1]
    everything = weiszfeld_focal(points, stride=1, iterations=100)
    assert weiszfeld_focal(points) == pytest.approx(everything, rel=5e-4)
    assert weiszfeld_focal(points) != everything


def test_no_usable_pixel_gives_nan():
    assert np.isnan(weiszfeld_focal(np.full((4, 4, 3), np.nan)))
    assert np.isnan(weiszfeld_focal(np.zeros((4, 4, 3))))
    assert np.isnan(weiszfeld_focal(_points(60.0), np.zeros((48, 64))))


@pytest.mark.data
def test_numbers_of_the_published_implementation():
    if not PARITY.is_dir():
        pytest.skip("no parity fixtures")
    given, wanted = np.load(PARITY / "geometry_inputs.npz"), np.load(PARITY / "geometry_expected.npz")
    # The fixtures put pixel centres at whole numbers: half a pixel is added to their principal points.
    for edge in (0, 1):
        points = given["pred_i"][edge]
        assert weiszfeld_focal(points, principal_point=(32.5, 24.5)) == pytest.approx(
            wanted["focal.weiszfeld"][edge], rel=1e-5
        )
        assert weiszfeld_focal(points, principal_point=(34.0, 22.5)) == pytest.approx(
            wanted["focal.weiszfeld.offcentre_pp"][edge], rel=1e-5
        )
        points = points.copy()
        points[::7, ::5, 2] = 0
        points[3, 3] = 0
        assert weiszfeld_focal(points, principal_point=(32.5, 24.5)) == pytest.approx(
            wanted["focal.weiszfeld.zero_depth"][edge], rel=2e-4
        )
