import numpy as np

from dust3r_sfm.alignment.robust import redescend, weighted_median


def test_weights_move_the_median():
    values = np.array([[1.0, 5.0, 2.0, 9.0], [1.0, 5.0, 2.0, 9.0]])
    weights = np.array([[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 9.0]])
    np.testing.assert_array_equal(weighted_median(values, weights), [2.0, 9.0])


def test_whole_weights_are_repetitions():
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=101), rng.integers(0, 5, 101)
    wanted = np.sort(np.repeat(values, weights))
    assert weighted_median(values, weights.astype(float)) == wanted[(len(wanted) - 1) // 2]


def test_no_weight_gives_nan():
    assert np.isnan(weighted_median(np.ones(3), np.zeros(3)))


def test_kernel_falls_from_one_to_nothing():
    np.testing.assert_allclose(redescend(np.array([0.0, 2.0, 20.0]), 2.0), [1, 0.25, 1 / 101**2])
