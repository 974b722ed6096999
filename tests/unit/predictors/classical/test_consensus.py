"""Triplets choose among hypotheses and reject what does not close."""

import numpy as np
import pytest

from dust3r_sfm.geometry.transforms import compose, invert, rotation_exp
from dust3r_sfm.predictors.classical.consensus import MIN_BELIEF, choose
from dust3r_sfm.predictors.classical.pose import PosedPair

NUM_IMAGES = 8


def cameras() -> np.ndarray:
    rng = np.random.default_rng(0)
    turns = rotation_exp(rng.normal(0, 0.3, (NUM_IMAGES, 3)))
    return np.concatenate([turns, rng.normal(0, 1, (NUM_IMAGES, 3, 1))], axis=-1)


def hypothesis(pose: np.ndarray, num_inliers: int, score: float) -> PosedPair:
    unit = pose.copy()
    unit[:, 3] /= np.linalg.norm(unit[:, 3])
    return PosedPair(cam2_from_cam1=unit, inlier=np.ones(num_inliers, bool), score=score, parallax=5.0)


def wrong(pose: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.column_stack([rotation_exp(rng.normal(0, 0.6, 3)) @ pose[:, :3], rng.normal(0, 1, 3)])


def relative(world: np.ndarray, i: int, j: int) -> np.ndarray:
    return compose(world[j], invert(world[i]))


def test_the_second_hypothesis_wins_where_it_closes_and_wrong_pairs_are_dropped() -> None:
    rng, world = np.random.default_rng(1), cameras()
    hypotheses, kind = {}, {}
    for i in range(NUM_IMAGES):
        for j in range(i + 1, NUM_IMAGES):
            true, false = relative(world, i, j), wrong(relative(world, i, j), rng)
            kind[i, j] = ("right", "second", "wrong", "right")[rng.integers(4)]
            hypotheses[i, j] = {
                "right": [hypothesis(true, 150, 130.0)],
                "second": [hypothesis(false, 150, 140.0), hypothesis(true, 140, 130.0)],
                "wrong": [hypothesis(false, 150, 140.0)],
            }[kind[i, j]]
    for edge, choice in choose(hypotheses, seed=0).items():
        assert choice.index == (1 if kind[edge] == "second" else 0)
        assert (choice.belief > MIN_BELIEF) == (kind[edge] != "wrong")


def test_a_pair_in_no_triplet_is_believed_by_its_inliers() -> None:
    world = cameras()
    pairs = {(0, 1): [hypothesis(relative(world, 0, 1), 31, 25.0)], (1, 2): []}
    choices = choose(pairs, seed=0)
    assert set(choices) == {(0, 1)}
    assert choices[0, 1].belief > MIN_BELIEF


def test_no_pairs() -> None:
    assert choose({}, seed=0) == {}


@pytest.mark.parametrize(("num_inliers", "is_kept"), [(60, False), (300, True)])
def test_a_pair_that_triplets_contradict_is_heard_where_many_matches_speak_for_it(num_inliers, is_kept) -> None:
    rng, world = np.random.default_rng(2), cameras()
    pairs = [(i, j) for i in range(len(world)) for j in range(i + 1, len(world))]
    hypotheses = {pair: [hypothesis(relative(world, *pair), 300, 200.0)] for pair in pairs}
    hypotheses[0, 1] = [hypothesis(wrong(relative(world, 0, 1), rng), num_inliers, 200.0)]
    choices = choose(hypotheses, seed=0)
    assert choices[0, 1].belief < MIN_BELIEF and choices[0, 1].is_kept == is_kept
    assert all(choice.is_kept for pair, choice in choices.items() if pair != (0, 1))
