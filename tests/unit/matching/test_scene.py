"""Matches of a scene's pairs, read from a store."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.matching.pair import match_pair
from dust3r_sfm.matching.scene import match_scene
from dust3r_sfm.options import MatchOptions, PredictOptions
from dust3r_sfm.predictors.predictor import PixelPair, load_predictor
from dust3r_sfm.predictors.store import PredictionStore, PredictionWriter, StoreHeader
from dust3r_sfm.types import ImageSet, PairGraph, PairPrediction, Scene, View

OPTIONS = MatchOptions(match_stride=4)
NAMES = ("one.jpg", "two.jpg", "three.jpg")
HEADER = StoreHeader(predictor="made-up", licence="MIT", fingerprint="abc")


@pytest.fixture
def scene(pair: Any) -> Scene:
    depth = pair.forward.points1[..., 2]
    return Scene(
        image_root=Path("photos"),
        views=tuple(replace(pair.view, name=name, path=Path("photos") / name) for name in NAMES),
        intrinsics=np.array([pair.intrinsics] * 3),
        cam_from_world=np.array([np.eye(3, 4), pair.cam2_from_cam1, np.eye(3, 4)]),
        registered=np.array([True, True, False]),
        depths=(depth, depth, depth),
        confidences=(pair.forward.confidence1,) * 3,
        edges=np.array([(0, 1), (0, 2), (1, 0), (1, 2)]),
        world_from_edge=np.tile(np.eye(4), (4, 1, 1)),
        edge_weights=np.ones(4),
        edge_residuals=np.zeros(4),
    )


def described(prediction: PairPrediction, seed: int) -> PairPrediction:
    code = np.random.default_rng(seed).standard_normal((2, 64, 96, 24)).astype(np.float32)
    code /= np.linalg.norm(code, axis=-1, keepdims=True)
    threes = np.full((64, 96), 3.0, np.float32)
    return replace(
        prediction,
        descriptors1=code[0],
        descriptors2=np.roll(code[0], 5, axis=1) * 0.9 + 0.1 * code[1],
        descriptor_confidence1=threes,
        descriptor_confidence2=threes,
    )


def stored(path: Path, predictions: dict[tuple[int, int], PairPrediction]) -> PredictionStore:
    with PredictionWriter(path, NAMES, HEADER) as writer:
        for edge, prediction in predictions.items():
            writer.add(edge, prediction)
    return PredictionStore(path, NAMES)


def test_each_pair_of_placed_images_is_matched_once(pair: Any, scene: Scene, tmp_path: Path) -> None:
    store = stored(tmp_path / "p.h5", {(0, 1): pair.forward, (1, 0): pair.backward, (0, 2): pair.forward})
    steps: list[tuple[int, int]] = []
    (matches,) = match_scene(scene, scene.views, store, OPTIONS, lambda done, total: steps.append((done, total)))
    assert (matches.image1, matches.image2) == (0, 1) and len(matches.xy1) > 300 and steps == [(1, 1)]


@pytest.mark.parametrize("both", [True, False])
def test_descriptors_of_both_directions_are_used(pair: Any, scene: Scene, tmp_path: Path, both: bool) -> None:
    predictions = {(0, 1): described(pair.forward, 0)}
    if both:
        predictions[1, 0] = described(pair.backward, 1)
    store = stored(tmp_path / "p.h5", predictions)
    (matches,) = match_scene(scene, scene.views, store, OPTIONS)
    views = scene.views
    backward = store[1, 0] if both else None
    expected = match_pair(store[0, 1], backward, (views[0], views[1]), (0, 1), OPTIONS)
    np.testing.assert_array_equal(matches.xy1, expected.xy1)
    np.testing.assert_array_equal(matches.xy2, expected.xy2)
    assert (matches.confidence == 3.0).sum() > 100


def test_rejected_pairs_are_left_out(pair: Any, scene: Scene, tmp_path: Path) -> None:
    store = stored(tmp_path / "p.h5", {(0, 1): pair.forward, (1, 0): pair.backward})
    one_way = replace(scene, edge_weights=np.array([0.0, 1.0, 1.0, 1.0]))
    assert [(found.image1, found.image2) for found in match_scene(one_way, scene.views, store, OPTIONS)] == [(1, 0)]
    assert match_scene(replace(scene, edge_weights=np.zeros(4)), scene.views, store, OPTIONS) == []


class Recorder:
    """A predictor that sees a code of the place in the window, whatever the window shows."""

    name, licence, grid, descriptor_size = "recorder", "none", Grid(size=96), 24

    def prepare(self, images: ImageSet, graph: PairGraph) -> None: ...

    def encode(self, views: Sequence[View]) -> Sequence[Any]:
        return views

    def predict(self, features: Any, edges: Any) -> Iterator[Any]:
        return iter(())

    def describe(self, views: Sequence[View]) -> None: ...

    def predict_pixels(self, pairs: Sequence[PixelPair]) -> Iterator[PairPrediction]:
        for first, second in pairs:
            assert first.shape == second.shape == (64, 96, 3)
            points, sure = np.zeros((64, 96, 3), np.float32), np.full((64, 96), 7.0, np.float32)
            blank = PairPrediction(points1=points, confidence1=sure, points2=points, confidence2=sure)
            yield replace(described(blank, 0), descriptor_confidence1=sure, descriptor_confidence2=sure)


def test_a_second_look_goes_to_the_photographs(pair: Any, scene: Scene, tmp_path: Path) -> None:
    for name in NAMES:
        Image.fromarray(np.zeros((512, 768, 3), np.uint8)).save(tmp_path / name)
    views = [replace(view, path=tmp_path / view.name) for view in scene.views]
    scene = replace(scene, image_root=tmp_path, views=tuple(views))
    store = stored(tmp_path / "p.h5", {(0, 1): pair.forward})
    predictor, options = Recorder(), replace(OPTIONS, fine_size=0)
    (coarse,) = match_scene(scene, scene.views, store, OPTIONS, predictor=predictor)
    (fine,) = match_scene(scene, scene.views, store, options, predictor=predictor)
    assert 10 <= len(fine.xy1) < len(coarse.xy1) and (fine.confidence == 7.0).all()
    with pytest.raises(PredictorError, match="--fine-size"):
        match_scene(scene, scene.views, store, options, predictor=load_predictor(PredictOptions(), 0))
