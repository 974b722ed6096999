import numpy as np
import pytest

from dust3r_sfm.alignment import align
from dust3r_sfm.alignment.depth.consistency import without_contradicted
from dust3r_sfm.geometry.pinhole import intrinsics
from dust3r_sfm.options import AlignOptions

CONFIDENCE = 5.0


@pytest.fixture
def exact(make_problem):
    """Depth maps of a true scene, all of one confidence."""

    def of(num_images: int = 6, order: np.ndarray | None = None) -> dict:
        problem = make_problem(num_images=num_images, shape=(36, 48))
        order = np.arange(num_images) if order is None else order
        edges = np.array([(i, j) for i in range(num_images) for j in range(num_images) if i != j])
        return {
            "depths": [problem.depths[i].astype(np.float32) for i in order],
            "confidences": [np.full(problem.depths[i].shape, CONFIDENCE, np.float32) for i in order],
            "intrinsics": np.stack([intrinsics(problem.focals[i], (48, 36)) for i in order]),
            "cam_from_world": problem.cam_from_world[order],
            "edges": edges,
            "weights": np.ones(len(edges)),
            "residuals": np.full(len(edges), 0.005),
        }

    return of


def test_a_true_scene_keeps_its_confidence(exact):
    for confidence in without_contradicted(**exact()):
        assert (confidence == CONFIDENCE).mean() > 0.999


def test_a_floater_loses_its_confidence_and_what_is_behind_it_does_not(exact):
    maps = exact()
    floater = np.s_[15:20, 20:26]
    maps["depths"][2][floater] *= 0.5
    maps["confidences"][2][floater] = 2 * CONFIDENCE
    kept = without_contradicted(**maps)
    assert (kept[2][floater] == 1).mean() > 0.9
    kept[2][floater] = CONFIDENCE
    assert all((confidence == CONFIDENCE).mean() > 0.99 for confidence in kept)


def test_a_point_that_more_is_said_for_than_against_stays(exact):
    maps = exact(num_images=2)
    floater = np.s_[15:20, 20:26]
    maps["depths"][1][floater] *= 0.5
    maps["confidences"][1][floater] = 1 + 2 * CONFIDENCE
    assert (without_contradicted(**maps)[1][floater] > 1).all()
    maps["confidences"][1][floater] = 2
    assert (without_contradicted(**maps)[1][floater] == 1).mean() >= 0.5


def test_a_hidden_point_and_a_point_within_the_margin_are_not_contradicted(exact):
    maps = exact()
    maps["depths"][2][:18] *= 1.5
    maps["depths"][2][18:] *= 0.985
    assert (without_contradicted(**maps)[2] == CONFIDENCE).mean() > 0.99


def test_the_order_of_the_images_does_not_matter(exact):
    order, floater = np.array([3, 0, 5, 1, 4, 2]), np.s_[10:20, 15:30]
    first, second = exact(), exact(order=order)
    for maps, index in ((first, 2), (second, 5), (first, 4), (second, 4)):
        maps["depths"][index][floater] *= 0.6
    kept, again = without_contradicted(**first), without_contradicted(**second)
    for place, index in enumerate(order):
        np.testing.assert_array_equal(again[place], kept[index])


def test_pairs_that_were_left_out_check_nothing(exact):
    maps = exact()
    maps["depths"][2] *= 0.5
    maps["weights"][(maps["edges"] == 2).any(1)] = 0
    assert all((confidence == CONFIDENCE).mean() > 0.999 for confidence in without_contradicted(**maps))


def test_alignment_applies_it(make_problem):
    """One pair puts a patch, surely, before the surface that the other photographs see."""
    problem = make_problem(num_images=6, shape=(36, 48))
    patch = np.s_[14:20, 20:26]
    for (i, _), prediction in problem.predictions.items():
        if i == 2:
            prediction.points1[patch] *= 0.5
    scene = align(problem.images, problem.predictions, AlignOptions())
    ratio = scene.depths[2] / problem.depths[2]
    assert np.median(ratio[patch]) < 0.6 * np.median(ratio)
    assert (scene.confidences[2][patch] == 1).mean() > 0.8
    assert (np.stack(scene.confidences) > 1).mean() > 0.98
