from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.errors import InputError, OutputError, PredictorError
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.options import PredictOptions
from dust3r_sfm.predictors import run
from dust3r_sfm.predictors.run import directed_edges, predict_pairs
from dust3r_sfm.types import PairGraph, PairPrediction

OPTIONS = PredictOptions(predictor="made-up")


class _MadeUp:
    """Numbers that depend on the names of the two photographs; counts what it is asked."""

    name, licence, grid = "made-up", "MIT", Grid(size=64)

    def __init__(self, fail_after: int | None = None) -> None:
        self.encoded: list[str] = []
        self.blocks: list[list[tuple[int, int]]] = []
        self.most_features = self.num_predicted = self.num_prepared = 0
        self.fail_after = fail_after

    def prepare(self, images, graph):
        self.num_prepared += 1

    def encode(self, views):
        self.encoded += [view.name for view in views]
        return list(views)

    def predict(self, features, edges):
        self.most_features = max(self.most_features, len(features))
        self.blocks.append(list(edges))
        for i, j in reversed(edges):
            if self.num_predicted == self.fail_after:
                raise KeyboardInterrupt
            self.num_predicted += 1
            yield (i, j), self.say(features[i], features[j])

    def say(self, first, second):
        rng = np.random.default_rng([*(first.name + second.name).encode()])
        shapes = [view.network_size[::-1] for view in (first, second)]
        points = [rng.standard_normal((*shape, 3)).astype(np.float32) for shape in shapes]
        ones = [np.full(shape, 2, np.float32) for shape in shapes]
        return PairPrediction(points1=points[0], confidence1=ones[0], points2=points[1], confidence2=ones[1])

    def describe(self, views):
        return None


def _graph(pairs, num_images=7):
    edges = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return PairGraph(num_images=num_images, edges=edges, weights=np.ones(len(edges)))


ALL = _graph([(i, j) for i in range(7) for j in range(i + 1, 7)])


def test_each_photograph_once_and_both_directions(tmp_path, known_scene):
    predictor, told = _MadeUp(), []
    store = predict_pairs(predictor, known_scene[2], ALL, tmp_path / "p.h5", OPTIONS, lambda *n: told.append(n))
    assert predictor.encoded == list(known_scene[2].names)
    assert store.edges() == sorted((i, j) for i in range(7) for j in range(7) if i != j)
    (block,) = predictor.blocks
    assert all(block[k] == block[k + 1][::-1] for k in range(0, len(block), 2))
    assert told == [(n, 42) for n in range(43)]
    assert store.header.licence == "MIT"


def test_directions():
    graph = _graph([(2, 1), (0, 1), (1, 2)])
    assert directed_edges(graph, one_direction=False) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    assert directed_edges(graph, one_direction=True) == [(0, 1), (1, 2)]


@pytest.mark.parametrize("fail_after", [0, 1, 17])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, known_scene, fail_after):
    images = known_scene[2]
    with pytest.raises(KeyboardInterrupt):
        predict_pairs(_MadeUp(fail_after), images, ALL, tmp_path / "resumed.h5", OPTIONS)
    second = _MadeUp()
    resumed = predict_pairs(second, images, ALL, tmp_path / "resumed.h5", OPTIONS)
    assert second.num_predicted == 42 - fail_after
    unbroken = predict_pairs(_MadeUp(), images, ALL, tmp_path / "unbroken.h5", OPTIONS)
    assert resumed.edges() == unbroken.edges()
    for edge in unbroken:
        np.testing.assert_array_equal(resumed[edge].points1, unbroken[edge].points1)
        np.testing.assert_array_equal(resumed[edge].points2, unbroken[edge].points2)


def test_nothing_to_do_asks_nothing(tmp_path, known_scene):
    predict_pairs(_MadeUp(), known_scene[2], ALL, tmp_path / "p.h5", OPTIONS)
    again = _MadeUp()
    assert len(predict_pairs(again, known_scene[2], ALL, tmp_path / "p.h5", OPTIONS)) == 42
    assert again.num_prepared == again.num_predicted == len(again.encoded) == 0


def test_more_pairs_may_be_added(tmp_path, known_scene):
    predict_pairs(_MadeUp(), known_scene[2], _graph([(0, 1)]), tmp_path / "p.h5", replace(OPTIONS, one_direction=True))
    store = predict_pairs(_MadeUp(), known_scene[2], _graph([(0, 1), (1, 2)]), tmp_path / "p.h5", OPTIONS)
    assert store.edges() == [(0, 1), (1, 0), (1, 2), (2, 1)]


def test_few_photographs_are_kept_and_neighbours_share_them(tmp_path, known_scene):
    """A long shuffled chain in blocks of 4: close to one encoding each, never more than 4 at a time."""
    view = known_scene[2].views[0]
    images = replace(known_scene[2], views=tuple(replace(view, name=f"{i:03d}.jpg") for i in range(60)))
    order = np.random.default_rng(0).permutation(60)
    graph = _graph([(order[k], order[k + 1]) for k in range(59)], num_images=60)
    predictor = _MadeUp()
    store = predict_pairs(predictor, images, graph, tmp_path / "p.h5", replace(OPTIONS, max_encoded=4))
    assert len(store) == 118
    assert predictor.most_features <= 4
    assert 60 <= len(predictor.encoded) <= 75


@pytest.mark.parametrize("changed", ["seed", "weights", "photograph"])
def test_other_inputs_are_refused(tmp_path, known_scene, changed):
    images = known_scene[2]
    predict_pairs(_MadeUp(), images, _graph([(0, 1)]), tmp_path / "p.h5", OPTIONS)
    options = replace(OPTIONS, weights="other.safetensors") if changed == "weights" else OPTIONS
    if changed == "photograph":
        (tmp_path / "new.jpg").write_bytes(b"another photograph")
        images = replace(images, views=(replace(images.views[0], path=tmp_path / "new.jpg"), *images.views[1:]))
    with pytest.raises(InputError, match="another run"):
        predict_pairs(_MadeUp(), images, ALL, tmp_path / "p.h5", options, seed=1 if changed == "seed" else 0)


def test_speed_options_may_change(tmp_path, known_scene):
    predict_pairs(_MadeUp(), known_scene[2], _graph([(0, 1)]), tmp_path / "p.h5", OPTIONS)
    options = replace(OPTIONS, device="cuda", num_workers=3, max_encoded=2)
    assert len(predict_pairs(_MadeUp(), known_scene[2], _graph([(0, 1)]), tmp_path / "p.h5", options)) == 2


def test_a_disk_too_small_is_noticed_before_the_work(tmp_path, known_scene, monkeypatch):
    monkeypatch.setattr(run, "estimated_size", lambda *sizes: 10**20)
    predictor = _MadeUp()
    with pytest.raises(OutputError, match="predict fewer pairs"):
        predict_pairs(predictor, known_scene[2], ALL, tmp_path / "p.h5", OPTIONS)
    assert predictor.num_prepared == 0


def _wrong_size(prediction):
    return replace(prediction, points2=prediction.points2[1:], confidence2=prediction.confidence2[1:])


def _not_finite(prediction):
    return replace(prediction, points1=prediction.points1 / np.float32(0))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("spoil", [_wrong_size, _not_finite])
def test_bad_pointmaps_are_named(tmp_path, known_scene, monkeypatch, spoil):
    say = _MadeUp.say
    monkeypatch.setattr(_MadeUp, "say", lambda self, first, second: spoil(say(self, first, second)))
    with pytest.raises(PredictorError, match=r"courtyard_00\.jpg – courtyard_01\.jpg|courtyard_01\.jpg – courtyard_00"):
        predict_pairs(_MadeUp(), known_scene[2], _graph([(0, 1)]), tmp_path / "p.h5", OPTIONS)


def test_a_forgotten_edge_is_named(tmp_path, known_scene, monkeypatch):
    predict = _MadeUp.predict
    monkeypatch.setattr(_MadeUp, "predict", lambda self, features, edges: predict(self, features, edges[1:]))
    with pytest.raises(PredictorError, match=r"no prediction for courtyard_00\.jpg – courtyard_01\.jpg"):
        predict_pairs(_MadeUp(), known_scene[2], _graph([(0, 1)]), tmp_path / "p.h5", OPTIONS)
