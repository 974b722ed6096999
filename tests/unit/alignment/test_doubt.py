"""What deserves no belief: guessed depths, and pairs that alone join what they contradict."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from dust3r_sfm.alignment import align
from dust3r_sfm.alignment.samples import draw_samples
from dust3r_sfm.alignment.solve.edges import information
from dust3r_sfm.options import AlignOptions
from dust3r_sfm.types import GUESSED, PairPrediction

GROUPS = (0, 1, 2, 3), (4, 5, 6, 7)


def _guessing(prediction: PairPrediction, share: float, rng: np.random.Generator) -> PairPrediction:
    """Leave the measured depth of some pixels, and guess a depth of the whole map for all others."""
    maps = {}
    for side in ("1", "2"):
        points, confidence = getattr(prediction, "points" + side), getattr(prediction, "confidence" + side)
        guessed = rng.uniform(size=confidence.shape) > share
        stretch = np.where(guessed, rng.uniform(0.3, 3), 1).astype(np.float32)
        maps["points" + side] = points * stretch[..., None]
        maps["confidence" + side] = np.where(guessed, np.float32(GUESSED), confidence)
    return PairPrediction(**maps)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_guessed_pixels_move_no_camera_and_reject_no_pair(make_problem, share):
    problem, rng = make_problem(num_images=6, shape=(48, 64)), np.random.default_rng(0)
    predictions = {edge: _guessing(p, share, rng) for edge, p in problem.predictions.items()}
    scene = align(problem.images, predictions, AlignOptions())
    assert scene.registered.all()
    assert (scene.edge_weights > 0.9).all()
    assert problem.errors(scene.cam_from_world)[0] < 0.01


def test_guesses_tell_nothing_of_a_pair_and_fill_depth_maps_where_nothing_was_measured(make_problem):
    problem = make_problem(num_images=4)
    predictions = {}
    for edge, p in problem.predictions.items():
        maps = {"confidence1": p.confidence1.copy(), "confidence2": p.confidence2.copy()}
        for image, confidence in zip(edge, maps.values(), strict=True):
            if image == 2:
                confidence[:6] = GUESSED
            if edge in ((0, 1), (1, 0)):
                confidence[:] = GUESSED
        predictions[edge] = replace(p, **maps)
    samples = draw_samples(problem.images, predictions, 200)
    assert [0, 1] not in samples.edges.tolist() and [1, 0] not in samples.edges.tolist()
    whole = information(draw_samples(problem.images, problem.predictions, 200))
    at = [k for k, edge in enumerate(sorted(problem.predictions)) if edge not in ((0, 1), (1, 0))]
    ratio = information(samples) / whole[at]
    np.testing.assert_allclose(ratio[samples.edges == 2], 2 / 3, atol=0.1)
    np.testing.assert_allclose(ratio[samples.edges != 2], 1)
    scene = align(problem.images, predictions, AlignOptions())
    relative = scene.depths[2] / problem.depths[2]
    np.testing.assert_allclose(relative, np.median(relative), rtol=1e-3)
    half = scene.confidences[2].astype(np.float16)
    assert (half[:6] > 1).all() and (half[:6] < 1.002).all() and (half[6:] > 1.5).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sure", [3.0, 10.0])
def test_a_wrong_pair_that_alone_joins_two_groups_does_not_place_one_of_them(make_problem, seed, sure):
    pairs = [p for group in GROUPS for p in combinations(group, 2)] + [(0, 4), (1, 6), (2, 5), (3, 7)]
    edges = [edge for p in pairs for edge in (p, p[::-1])]
    problem = make_problem(num_images=8, noise=0.01, edges=edges, seed=seed)
    wrong = make_problem(num_images=8, noise=0.01, edges=edges, bad=1.0, seed=seed)
    predictions = dict(problem.predictions)
    for edge in ((2, 5), (5, 2)):
        p = wrong.predictions[edge]
        predictions[edge] = replace(p, confidence1=p.confidence1 * sure, confidence2=p.confidence2 * sure)
    scene = align(problem.images, predictions, AlignOptions())
    assert scene.registered.sum() >= 4
    angle, distance = problem.errors(scene.cam_from_world, scene.registered)
    assert angle < 2 and distance < 0.05
