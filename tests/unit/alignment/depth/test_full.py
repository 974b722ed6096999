from dataclasses import replace

import numpy as np

from dust3r_sfm.alignment import align
from dust3r_sfm.alignment.depth.full import MAX_VOTES, MIN_VOTES, choose_sources
from dust3r_sfm.options import AlignOptions


def test_own_pointmaps_vote_and_others_only_where_those_are_few():
    edges = np.array([(0, k) for k in range(1, 7)] + [(k, 0) for k in range(1, 7)])
    merits = np.ones((12, 2))
    sources = choose_sources(7, edges, merits)
    assert sources[0] == [(e, 0) for e in range(6)]
    assert sources[1] == [(6, 0), (0, 1)]
    merits[:4] = 0
    assert len(choose_sources(7, edges, merits)[0]) == 2 + 6
    assert MIN_VOTES == 3


def test_the_best_pointmaps_are_chosen_when_there_are_many():
    edges = np.array([(0, k) for k in range(1, 2 * MAX_VOTES)])
    merits = np.linspace(0.1, 1, len(edges))[:, None].repeat(2, 1)
    sources = choose_sources(2 * MAX_VOTES, edges, merits)[0]
    assert sources == [(e, 0) for e in range(len(edges) - MAX_VOTES, len(edges))]


def test_all_pointmaps_are_chosen_on_demand():
    edges = np.array([(0, k) for k in range(1, 2 * MAX_VOTES)] + [(k, 0) for k in range(1, 2 * MAX_VOTES)])
    sources = choose_sources(2 * MAX_VOTES, edges, np.ones((len(edges), 2)), every=True)
    assert sources[0] == [(e, int(e >= len(edges) // 2)) for e in range(len(edges))]
    assert sources[1] == [(len(edges) // 2, 0), (0, 1)]


def test_depth_is_zero_and_confidence_one_where_no_pair_knows_the_pixel(make_problem):
    problem = make_problem(num_images=4)
    predictions = {}
    for (i, j), prediction in problem.predictions.items():
        confidence1, confidence2 = prediction.confidence1.copy(), prediction.confidence2.copy()
        for image, confidence in ((i, confidence1), (j, confidence2)):
            if image == 2:
                confidence[:5] = 1
        predictions[i, j] = replace(prediction, confidence1=confidence1, confidence2=confidence2)
    scene = align(problem.images, predictions, AlignOptions())
    assert (scene.depths[2][:5] == 0).all() and (scene.confidences[2][:5] == 1).all()
    assert (scene.depths[2][5:] > 0).all() and (scene.confidences[2][5:] > 2).all()


def test_a_prediction_that_the_others_contradict_neither_moves_depth_nor_gives_confidence(make_problem):
    problem = make_problem(num_images=6)
    spoiled = problem.predictions[1, 3]
    spoiled.points1[:6] *= 1.5
    spoiled.confidence1[:6] = 20
    scene = align(problem.images, problem.predictions, AlignOptions())
    ratio = scene.depths[1] / problem.depths[1]
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=2e-3)
    assert scene.confidences[1][:6].max() < 9
