"""Another sun paints other light on the same surfaces."""

import numpy as np

from dust3r_sfm.synthetic import light
from dust3r_sfm.synthetic.surfaces import Quad
from dust3r_sfm.synthetic.world import World


def _corner() -> World:
    """Ground before a wall, both white."""
    ground = Quad(corner=np.array([-1.0, 1, 0]), side_u=np.array([2.0, 0, 0]), side_v=np.array([0, -2.0, 0]))
    wall = Quad(corner=np.array([-1.0, 1, 2]), side_u=np.array([2.0, 0, 0]), side_v=np.array([0, 0, -2.0]))
    return World([ground, wall], [np.full((24, 24, 3), 120, np.uint8)] * 2)


def test_a_wall_is_brighter_with_the_sun_before_it_than_behind_it(monkeypatch) -> None:
    monkeypatch.setattr(light, "NUM_SKY_RAYS", 4)
    before, behind = (light.lit(_corner(), sun).textures for sun in ((0.1, -1.0, 0.8), (0.1, 1.0, 0.8)))
    assert before[1].mean() > 1.3 * behind[1].mean()
    assert before[0].mean() > 1.1 * behind[0].mean(), "the wall's shadow falls on the ground"
    np.testing.assert_array_equal(light.lit(_corner()).textures, light.lit(_corner(), light.NOON).textures)
