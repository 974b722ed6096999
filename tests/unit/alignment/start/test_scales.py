import numpy as np
import pytest

from dust3r_sfm.alignment.samples import draw_samples
from dust3r_sfm.alignment.start.pairwise import relative_poses
from dust3r_sfm.alignment.start.scales import average, edge_log_scales, link_depths


@pytest.mark.parametrize("directed", ["both", "one"])
def test_exact_depths_give_the_scale_of_every_edge(make_problem, directed):
    edges = None if directed == "both" else [(i, j) for i in range(5) for j in range(i + 1, 5)]
    problem = make_problem(num_images=5, edges=edges)
    samples = draw_samples(problem.images, problem.predictions, 500)
    pairs = relative_poses(samples, problem.focals)
    links = link_depths(samples, pairs)
    found = edge_log_scales(pairs, links, 5, np.ones(len(pairs.images)))
    truth = np.array(
        [
            np.log(problem.depths[i] / problem.predictions[i, j].points1[..., 2]).mean()
            for i, j in samples.edges.tolist()
        ]
    )
    np.testing.assert_allclose(found, truth - truth.mean(), atol=1e-4)
    assert np.nanmin(links.proportional) > 0.9


def test_a_depth_map_that_is_not_proportional_is_found(make_problem):
    problem = make_problem(num_images=6, noise=0.005)
    bent = problem.predictions[2, 4]
    y = np.linspace(-0.5, 0.5, bent.points1.shape[0])[:, None, None]
    bent.points1[:] *= np.exp(y).astype(np.float32)
    samples = draw_samples(problem.images, problem.predictions, 500)
    links = link_depths(samples, relative_poses(samples, problem.focals))
    own = links.proportional[:, 0]
    at = samples.edges.tolist().index([2, 4])
    assert own[at] < 0.2
    assert np.delete(own, at).min() > 0.5


def test_a_quarter_of_wrong_differences_does_not_move_the_average():
    rng = np.random.default_rng(0)
    sources, targets = np.array([(i, j) for i in range(10) for j in range(i + 1, 10)]).T
    values = rng.normal(size=10)
    values -= values.mean()
    differences = values[targets] - values[sources]
    wrong = rng.permutation(len(differences)) < len(differences) // 4
    differences[wrong] += rng.normal(size=wrong.sum()) * 2
    np.testing.assert_allclose(average(10, sources, targets, differences, np.ones(len(wrong))), values, atol=0.01)
