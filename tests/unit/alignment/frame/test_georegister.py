"""Similarities to measured positions."""

import numpy as np
from scipy.spatial.transform import Rotation

from dust3r_sfm.alignment.frame.georegister import fit_positions
from dust3r_sfm.alignment.frame.upright import Down
from dust3r_sfm.geometry.transforms import apply
from dust3r_sfm.types import Positions

ROTATION = Rotation.from_rotvec([0.4, 1.0, -0.3]).as_matrix()
SCALE = 0.07


def own(xyz: np.ndarray) -> np.ndarray:
    """World coordinates in a frame and unit of a model's own."""
    return SCALE * xyz @ ROTATION.T + [1.0, 2.0, 3.0]


def measured(xyz: np.ndarray, sigma: float, seed: int = 0) -> Positions:
    noise = sigma * np.random.default_rng(seed).standard_normal(xyz.shape)
    return Positions(xyz=xyz + noise, sigmas=np.full(xyz.shape, max(sigma, 0.01)))


def test_a_tenth_of_them_may_be_wrong():
    rng = np.random.default_rng(1)
    xyz = rng.uniform([-100, -100, 0], [100, 100, 20], (80, 3))
    positions = measured(xyz, 3.0)
    positions.xyz[:8] += rng.choice([-1, 1], (8, 3)) * rng.uniform(20, 300, (8, 3))
    fit = fit_positions(own(xyz), positions, None, 0)
    assert fit is not None and not fit.agreeing[:8].any() and fit.agreeing[8:].mean() > 0.9
    rms = np.sqrt(((apply(fit.world_from_model, own(xyz)) - xyz) ** 2).sum(1).mean())
    assert rms < 1.5


def test_gravity_holds_the_tilt_of_a_narrow_walk():
    """Noise of positions turns a narrow model about its length."""
    xyz = np.outer(np.linspace(-100, 100, 30), [1.0, 0.3, 0.0])
    xyz[:, 1] += 12 * np.sin(np.arange(30))
    down = Down(direction=ROTATION @ [0, 0, -1.0], sigma_degrees=0.5)
    fit = fit_positions(own(xyz), measured(xyz, 1.0), down, 0)
    assert fit is not None
    linear = fit.world_from_model[:3, :3]
    up = linear @ ROTATION[:, 2] / np.cbrt(np.linalg.det(linear))
    assert np.degrees(np.arccos(up[2])) < 1.0


def test_precise_positions_count_more():
    xyz = np.random.default_rng(2).uniform([-100, -100, 0], [100, 100, 20], (40, 3))
    positions = measured(xyz, 3.0)
    positions.xyz[::2], positions.sigmas[::2] = xyz[::2], 0.02
    fit = fit_positions(own(xyz), positions, None, 0)
    assert fit is not None
    assert np.abs(apply(fit.world_from_model, own(xyz)) - xyz).max() < 0.05


def test_nothing_agrees():
    rng = np.random.default_rng(3)
    xyz = rng.uniform(-100, 100, (6, 3))
    positions = Positions(xyz=rng.uniform(-1000, 1000, (6, 3)), sigmas=np.full((6, 3), 0.1))
    assert fit_positions(own(xyz), positions, None, 0) is None


def test_the_inverse_is_the_model():
    xyz = np.random.default_rng(4).uniform(-50, 50, (10, 3))
    fit = fit_positions(own(xyz), measured(xyz, 0.0), None, 0)
    assert fit is not None
    np.testing.assert_allclose(apply(fit.world_from_model, own(xyz)), xyz, atol=1e-6)
