import numpy as np
import pytest

from dust3r_sfm.synthetic.surfaces import Column, Quad, Sphere


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_rays_to_points_on_surfaces_meet_them(world, precision):
    """A ray to a surface point ends there, at the right texture position, unless something stands before it."""
    rng = np.random.default_rng(1)
    num_met = 0
    for index, surface in enumerate(world.surfaces):
        uv = rng.uniform(0.01, 0.99, (400, 2))
        points, normals = surface.at(uv)
        origin = np.array([[2.5, -3.5, 1.8]])
        directions = (points - origin).astype(precision)
        # Rays that graze a round surface may miss it by rounding.
        facing = np.einsum("ni,ni->n", directions, normals) < -0.05
        hits = world.trace(origin, directions)
        assert (hits.distance[facing] < 1 + 1e-4).all()
        met = facing & (hits.surface == index)
        num_met += met.sum()
        tolerance = 1e-3 if precision is np.float32 else 1e-8
        np.testing.assert_allclose(hits.distance[met], 1, atol=tolerance)
        np.testing.assert_allclose(hits.uv[met], uv[met], atol=tolerance)
        if not isinstance(surface, Column):  # whose inside is seen from above
            assert not (
                (hits.surface == index)
                & (np.einsum("ni,ni->n", directions, normals) > 0.05)
                & (np.abs(hits.distance - 1) < 1e-4)
            ).any()
    assert num_met > 600


def test_many_origins_and_one_agree(world):
    rng = np.random.default_rng(2)
    origin = np.array([[3.0, -3.0, 1.5]])
    directions = np.array([-3.0, 3.2, -0.6]) + rng.uniform(-1.5, 1.5, (3000, 3))
    together = world.trace(origin, directions)
    apart = world.trace(np.repeat(origin, 3000, axis=0), directions)
    np.testing.assert_array_equal(together.surface, apart.surface)
    np.testing.assert_allclose(together.distance, apart.distance)
    assert set(np.unique(together.surface)) == {-1, 0, 1, 2, 3}


def test_surfaces_are_sorted_by_kind_with_their_textures(world):
    assert [type(surface) for surface in world.surfaces] == [Quad, Quad, Sphere, Column]
    assert world.textures[0].shape == (1000, 1000, 3) and world.textures[1].shape == (64, 64, 3)


def test_nothing_is_sky(world):
    up = np.array([[0.0, 0.0, 1.0], [0.0, 0.1, 1.0]])
    hits = world.trace(np.array([[4.0, -4.0, 1.0]]), up)
    assert np.isinf(hits.distance).all() and (hits.surface == -1).all()
    colours = world.colour(hits, up, 1e-3)
    assert (colours[:, 2] > colours[:, 0]).all()


def test_shadow(world):
    beneath = np.array([[0.3, 0.1, 0.001], [3.0, -3.0, 0.001]])
    np.testing.assert_array_equal(world.is_free(beneath, np.array([0.0, 0.0, 1.0])), [False, True])
