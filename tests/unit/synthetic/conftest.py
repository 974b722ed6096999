"""A small world whose every surface has a closed form."""

import numpy as np
import pytest

from dust3r_sfm.synthetic.surfaces import Column, Quad, Sphere
from dust3r_sfm.synthetic.world import World


def dots(size: int, step: int) -> np.ndarray:
    """Soft bright dots on a dark ground, centred on every `step`-th texel corner."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    distance = np.hypot((rows + step / 2) % step - step / 2, (columns + step / 2) % step - step / 2)
    return np.repeat((20 + 220 * np.exp(-((distance / (0.12 * step)) ** 2)))[..., None], 3, axis=-1).astype(np.uint8)


@pytest.fixture(scope="session")
def world() -> World:
    ground = Quad(corner=np.array([-5.0, 5, 0]), side_u=np.array([10.0, 0, 0]), side_v=np.array([0, -10.0, 0]))
    wall = Quad(corner=np.array([-4.5, 5, 4]), side_u=np.array([9.0, -2, 0]), side_v=np.array([0, 0, -4.0]))
    ball = Sphere(centre=np.array([0.3, 0.1, 0.9]), radius=0.7)
    column = Column(foot=np.array([-1.5, 1.0, 0]), radius=0.4, height=2.0)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    # The order of kinds is mixed on purpose.
    return World([column, ground, ball, wall], [noise, dots(1000, 100), noise, noise])
