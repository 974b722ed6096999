import numpy as np

from dust3r_sfm.alignment.start.cycles import edge_cycles
from dust3r_sfm.alignment.start.pairwise import RelativePoses
from dust3r_sfm.geometry.transforms import rotation_exp


def _complete(num_images: int, seed: int = 0) -> tuple[RelativePoses, np.ndarray, np.ndarray]:
    """Exact pairs of a complete graph in both directions, their baselines, and all triangles."""
    rng = np.random.default_rng(seed)
    rotations, centres = rotation_exp(rng.normal(size=(num_images, 3))), rng.normal(size=(num_images, 3))
    images = np.array([(i, j) for i in range(num_images) for j in range(i + 1, num_images)])
    i, j = images.T
    pairs = RelativePoses(
        images=images,
        edges=np.stack([2 * np.arange(len(images)), 2 * np.arange(len(images)) + 1], 1),
        rotations=rotations[i].transpose(0, 2, 1) @ rotations[j],
        centres=np.zeros((len(images), 2, 3)),
        log_ratios=np.zeros(len(images)),
        qualities=np.ones(len(images)),
    )
    index = {tuple(pair): p for p, pair in enumerate(images.tolist())}
    loops = np.array(
        [
            (index[a, b], index[b, c], index[a, c])
            for a in range(num_images)
            for b in range(a + 1, num_images)
            for c in range(b + 1, num_images)
        ],
        np.int64,
    ).reshape(-1, 3)
    return pairs, centres[j] - centres[i], loops


def test_exact_pairs_close():
    pairs, steps, loops = _complete(5)
    cycles = edge_cycles(20, pairs, steps, loops)
    assert np.abs(cycles[:, [0, 2]]).max() < 1e-5
    assert cycles[:, 1].max() < 1e-4


def test_a_wrong_pair_is_off_by_its_error_and_the_others_are_not():
    pairs, steps, loops = _complete(7)
    pairs.rotations[4] = pairs.rotations[4] @ rotation_exp(np.array([0, 0, np.radians(20)]))
    steps[4] *= 3
    cycles = edge_cycles(42, pairs, steps, loops)
    np.testing.assert_allclose(cycles[[8, 9], 0], 20, atol=1e-6)
    np.testing.assert_allclose(cycles[[8, 9], 2], np.log(3), rtol=1e-6)
    assert np.abs(np.delete(cycles, [8, 9], axis=0)[:, [0, 2]]).max() < 1e-5


def test_a_direction_is_measured_in_degrees():
    pairs, steps, loops = _complete(3)
    around = steps[0] + steps[2]
    aside = np.cross(around, [0.3, -0.2, 0.9])
    steps[1] = around + aside / np.linalg.norm(aside) * np.linalg.norm(around)
    np.testing.assert_allclose(edge_cycles(6, pairs, steps, loops)[:, 1], 45, atol=1e-6)


def test_pairs_without_a_triangle_are_not_judged_and_no_baseline_is_no_error():
    pairs, steps, loops = _complete(4)
    cycles = edge_cycles(12, pairs, 0 * steps, loops[:1])
    judged = np.isin(np.arange(12) // 2, loops[0])
    assert np.isfinite(cycles[judged]).all()
    assert np.isnan(cycles[~judged]).all()
    assert np.isnan(edge_cycles(12, pairs, steps, loops[:0])).all()
