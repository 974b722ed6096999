from dataclasses import replace

import numpy as np

from dust3r_sfm.alignment.placement import Placement
from dust3r_sfm.alignment.samples import Samples, draw_samples
from dust3r_sfm.alignment.solve.edges import edge_residuals, edge_weights, fit_scales, information
from dust3r_sfm.alignment.solve.gauss_newton import gauss_newton, start_depths
from dust3r_sfm.alignment.solve.unknowns import FREE, TIED, Parametrization
from dust3r_sfm.alignment.solve.votes import Loss
from dust3r_sfm.geometry.transforms import invert


def _truth(problem, samples: Samples) -> Placement:
    world_from_cam = invert(problem.cam_from_world)
    rotations, centres = world_from_cam[:, :, :3].copy(), world_from_cam[:, :, 3].copy()
    sources = samples.edges[:, 0]
    scales = [problem.depths[i][0, 0] / problem.predictions[i, j].points1[0, 0, 2] for i, j in samples.edges.tolist()]
    return Placement(
        rotations=rotations,
        centres=centres,
        focals=problem.focals,
        principal=np.zeros((len(rotations), 2)),
        edge_rotations=rotations[sources],
        edge_centres=centres[sources],
        log_scales=np.log(np.array(scales, np.float64)),
    )


def test_only_the_wrong_edges_have_a_residual(make_problem):
    problem = make_problem(num_images=5, bad=0.2)
    samples = draw_samples(problem.images, problem.predictions, 200)
    placement, bad = _truth(problem, samples), np.array([tuple(e) in problem.bad for e in samples.edges.tolist()])
    depths = start_depths(samples, placement, np.where(bad, 0.0, 1.0), Loss(width=0.03))
    residuals, known = edge_residuals(samples, placement, depths), information(samples)
    assert residuals[~bad].max() < 1e-5
    assert residuals[bad, 1].min() > 0.1
    weights = edge_weights(residuals, known, np.ones(len(bad)))
    np.testing.assert_allclose(weights, np.where(bad, 0, 1), atol=1e-6)


def test_scales_are_refitted_where_asked_only(make_problem):
    problem = make_problem(num_images=4)
    samples = draw_samples(problem.images, problem.predictions, 200)
    truth = _truth(problem, samples)
    depths = start_depths(samples, truth, np.ones(len(samples.edges)), Loss(width=0.03))
    which = np.arange(len(samples.edges)) % 3 == 0
    off = Placement(**{**vars(truth), "log_scales": truth.log_scales + 0.7})
    found = fit_scales(samples, off, depths, which).log_scales - truth.log_scales
    np.testing.assert_allclose(found, np.where(which, 0, 0.7), atol=1e-5)


def test_refinement_returns_to_the_truth_and_keeps_the_mean_scale(make_problem):
    problem = make_problem(num_images=5)
    samples = draw_samples(problem.images, problem.predictions, 200)
    truth, rng = _truth(problem, samples), np.random.default_rng(0)
    start = Placement(
        **{
            **vars(truth),
            "centres": truth.centres + rng.normal(size=(5, 3)) * 0.05,
            "focals": truth.focals * 1.03,
            "log_scales": truth.log_scales + rng.normal(size=len(samples.edges)) * 0.05,
        }
    )
    for stiffness in (TIED, FREE, 0.1):
        parametrization = Parametrization(cameras=np.zeros(5, np.int64), stiffness=stiffness)
        placed = replace(start, free=stiffness == FREE)
        solution = gauss_newton(
            samples, placed, np.ones(len(samples.edges)), parametrization, Loss(width=0.1), 40, 1e-9
        )
        world_to_cam = solution.placement.rotations.transpose(0, 2, 1)
        poses = np.concatenate([world_to_cam, -(world_to_cam @ solution.placement.centres[:, :, None])], axis=2)
        assert max(problem.errors(poses)) < 1e-4
        assert abs(solution.placement.log_scales.mean() - start.log_scales.mean()) < 1e-4
        np.testing.assert_allclose(solution.placement.focals, 22, rtol=1e-5)
