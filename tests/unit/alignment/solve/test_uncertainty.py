import numpy as np
import pytest

from dust3r_sfm.alignment.component import align_component
from dust3r_sfm.alignment.frame.known import known_cameras
from dust3r_sfm.alignment.samples import draw_samples
from dust3r_sfm.alignment.solve import uncertainty
from dust3r_sfm.geometry.procrustes import similarity
from dust3r_sfm.geometry.transforms import apply, invert, rotation_log
from dust3r_sfm.options import AlignOptions

NUM_IMAGES, NUM_DRAWS = 5, 12


@pytest.mark.parametrize("max_exact", [1000, 0], ids=["exact", "random sums"])
def test_the_predicted_spread_is_that_of_solutions_over_seeds(make_problem, monkeypatch, max_exact):
    monkeypatch.setattr(uncertainty, "MAX_NUM_EXACT", max_exact)
    poses = make_problem(num_images=NUM_IMAGES).cam_from_world
    truth, errors, predicted = invert(poses), [], []
    for seed in range(NUM_DRAWS):
        problem = make_problem(cam_from_world=poses, noise=0.02, seed=seed)
        samples = draw_samples(problem.images, problem.predictions, 150)
        every, cameras = np.ones(NUM_IMAGES, bool), np.zeros(NUM_IMAGES, np.int64)
        options, rng, known = AlignOptions(), np.random.default_rng(0), known_cameras(problem.images)
        aligned = align_component(samples, every, problem.focals, cameras, known, options, rng)
        placement = aligned.placement
        fit = similarity(placement.centres, truth[:, :, 3])
        scale = np.cbrt(np.linalg.det(fit[:3, :3]))
        turns = (fit[:3, :3] / scale) @ placement.rotations @ np.swapaxes(truth[:, :, :3], 1, 2)
        moves = apply(fit, placement.centres) - truth[:, :, 3]
        errors.append([(rotation_log(turns) ** 2).sum(), (moves**2).sum()])
        variances = np.diagonal(aligned.covariances, axis1=1, axis2=2)
        predicted.append([variances[:, :3].sum(), variances[:, 3:].sum() * scale**2])
    ratio = np.sqrt(np.mean(predicted, axis=0) / np.mean(errors, axis=0))
    assert (ratio > 0.5).all() and (ratio < 2).all()
