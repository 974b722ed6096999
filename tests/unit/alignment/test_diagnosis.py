import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.alignment import align
from dust3r_sfm.alignment.diagnosis import MAX_NUM_SENTENCES, diagnose
from dust3r_sfm.options import AlignOptions
from dust3r_sfm.types import Scene, View


@pytest.fixture
def make_scene() -> Callable[..., Scene]:
    """A scene of a given graph, with cameras one unit apart on a line."""

    def make(num_images: int, pairs: list[tuple[int, int]], weights: list[float] | None = None) -> Scene:
        edges = np.array([e for pair in pairs for e in (pair, pair[::-1])], np.int64).reshape(-1, 2)
        pose = np.tile(np.eye(3, 4), (num_images, 1, 1))
        pose[:, 0, 3] = -np.arange(num_images)
        each = np.ones(len(edges)) if weights is None else np.repeat(weights, 2).astype(np.float64)
        return Scene(
            image_root=Path(),
            views=tuple(
                View(
                    name=f"{k}.jpg",
                    path=Path(f"{k}.jpg"),
                    size=(8, 8),
                    orientation=1,
                    network_size=(8, 8),
                    network_from_image=np.eye(3),
                    focal_prior=None,
                    camera_group=0,
                )
                for k in range(num_images)
            ),
            intrinsics=np.tile(np.eye(3), (num_images, 1, 1)),
            cam_from_world=pose,
            registered=np.ones(num_images, bool),
            depths=(),
            confidences=(),
            edges=edges,
            world_from_edge=np.tile(np.eye(4), (len(edges), 1, 1)),
            edge_weights=each,
            edge_residuals=np.where(each > 0, 0.01, 0.4),
        )

    return make


def test_a_well_held_scene_gives_no_sentence(make_scene):
    diagnosis = diagnose(make_scene(5, list(combinations(range(5), 2))))
    assert diagnosis.sentences() == []
    assert diagnosis.degrees.tolist() == [4] * 5
    assert not diagnosis.bridges.any()
    np.testing.assert_allclose(diagnosis.weighted_degrees, 4)
    np.testing.assert_allclose(diagnosis.image_residuals, 0.01)


def test_an_image_on_one_pair_is_named_with_its_partner(make_scene):
    diagnosis = diagnose(make_scene(5, [*combinations(range(4), 2), (3, 4)]))
    assert diagnosis.sentences() == ["4.jpg hangs on one pair (3.jpg): add a photograph between them."]
    assert diagnosis.bridges.tolist() == [False] * 6 + [True]


def test_a_bridge_is_named_with_the_parts_it_joins(make_scene):
    diagnosis = diagnose(make_scene(7, [*combinations(range(3), 2), *combinations(range(3, 7), 2), (2, 3)]))
    (sentence,) = diagnosis.sentences()
    assert "2.jpg and 3.jpg" in sentence and "3 and 4 photographs" in sentence


def test_a_rejected_pair_holds_nothing_and_is_listed(make_scene):
    pairs = [*combinations(range(4), 2), (3, 4), (2, 4)]
    diagnosis = diagnose(make_scene(5, pairs, [1.0] * 7 + [0.0]))
    assert diagnosis.degrees.tolist() == [3, 3, 3, 4, 1]
    hanging, rejected = diagnosis.sentences()
    assert "4.jpg hangs on one pair (3.jpg)" in hanging
    assert rejected == "1 of 8 pairs contradicts the others and does not count: 2.jpg – 4.jpg."


def test_images_held_loosely_or_uncertainly_are_named(make_scene):
    pairs = list(combinations(range(5), 2))
    scene = make_scene(5, pairs, [0.1 if 4 in pair else 1.0 for pair in pairs])
    diagnosis = diagnose(scene)
    assert diagnosis.sentences() == ["4.jpg is held by 4 pairs that fit badly: add photographs that overlap it more."]
    assert diagnosis.weakest.tolist() == [3, 6, 8, 9, 3]
    covariances = np.tile(np.diag([1e-4] * 6), (5, 1, 1))
    covariances[2, 3:, 3:] *= 400
    diagnosis = diagnose(replace(make_scene(5, pairs), covariances=covariances))
    assert len(diagnosis.sentences()) == 1 and "2.jpg is uncertain by 35 %" in diagnosis.sentences()[0]
    np.testing.assert_allclose(diagnosis.rotation_sigmas, np.degrees(np.sqrt(3) * 0.01))


def test_many_weak_places_are_counted(make_scene):
    diagnosis = diagnose(make_scene(12, [(0, k) for k in range(1, 12)]))
    sentences = diagnosis.sentences()
    assert len(sentences) == MAX_NUM_SENTENCES + 1
    assert sentences[-1] == "6 other photographs hang on one pair each."


@pytest.mark.parametrize("num_images", [0, 1, 2])
def test_small_scenes_have_nothing_to_say(make_scene, num_images):
    diagnosis = diagnose(make_scene(num_images, [(0, 1)] if num_images == 2 else []))
    assert diagnosis.sentences() == []
    assert len(diagnosis.as_json()["images"]) == num_images


def test_it_can_be_written_as_json(make_scene):
    scene = make_scene(4, [(0, 1), (1, 2), (0, 2)])
    cycles = np.full((6, 3), np.nan)
    cycles[:2] = [1.23456, 2.0, 0.1]
    registered = np.array([True, True, True, False])
    record = json.loads(json.dumps(diagnose(replace(scene, edge_cycles=cycles, registered=registered)).as_json()))
    assert record["pairs"][0] == {
        "images": ["0.jpg", "1.jpg"],
        "weight": 1.0,
        "residual": 0.01,
        "cycle_rotation_degrees": 1.235,
        "cycle_direction_degrees": 2.0,
        "cycle_log_scale": 0.1,
        "bridge": False,
    }
    assert record["pairs"][1]["cycle_log_scale"] is None
    assert record["images"][3]["weakest"] is None and record["images"][0]["weakest"] == "1.jpg"


def test_an_aligned_scene_carries_the_sentences(make_problem):
    edges = [e for p in [*combinations(range(4), 2), (3, 4)] for e in (p, p[::-1])]
    problem = make_problem(num_images=5, edges=edges)
    scene = align(problem.images, problem.predictions, AlignOptions())
    assert scene.warnings == tuple(diagnose(scene).sentences()) != ()
