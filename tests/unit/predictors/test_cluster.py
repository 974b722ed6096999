"""Shares over a Ray cluster of two machines, as far as one machine can play two."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.options import PredictOptions
from dust3r_sfm.predictors.cluster import predict_on_cluster
from dust3r_sfm.predictors.predictor import load_predictor
from dust3r_sfm.predictors.run import predict_pairs
from dust3r_sfm.types import PairGraph

PAIRS = [(i, j) for i in range(7) for j in range(i + 1, 7)]


def graph(pairs):
    return PairGraph(num_images=7, edges=np.array(pairs), weights=np.ones(len(pairs)))


@pytest.fixture
def options(known_scene):
    return PredictOptions(predictor="oracle", weights=str(known_scene[0]), ray=True)


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one processor each, and a connection to them."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def test_two_machines_predict_what_one_does(cluster, known_scene, options, tmp_path):
    images, told = known_scene[2], []
    predictor = load_predictor(options, 0)
    store = predict_on_cluster(
        predictor, images, graph(PAIRS), tmp_path / "p.h5", options, lambda *numbers: told.append(numbers)
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["p.1-of-2.h5", "p.2-of-2.h5"]
    alone = predict_pairs(predictor, images, graph(PAIRS), tmp_path / "alone" / "p.h5", options)
    assert store.edges() == alone.edges() and store.header == alone.header
    for edge in store:
        np.testing.assert_array_equal(store[edge].points1, alone[edge].points1)
    assert told[0] == (0, 42) and told[-1] == (42, 42) and told == sorted(told)


def test_only_what_is_missing_is_predicted(cluster, known_scene, options, tmp_path):
    images, predictor = known_scene[2], load_predictor(options, 0)
    predict_pairs(predictor, images, graph(PAIRS[:9]), tmp_path / "p.h5", options)
    told = []
    store = predict_on_cluster(
        predictor, images, graph(PAIRS), tmp_path / "p.h5", options, lambda *numbers: told.append(numbers)
    )
    assert told[0] == (18, 42) and len(store) == 42
    again = predict_on_cluster(predictor, images, graph(PAIRS), tmp_path / "p.h5", options)
    assert again.edges() == store.edges()


def test_errors_of_a_worker_come_out_as_they_are(cluster, known_scene, options, tmp_path):
    predictor = load_predictor(options, 0)
    others = replace(options, predictor="no-such-one")
    with pytest.raises(PredictorError, match=r"^No predictor is called 'no-such-one'"):
        predict_on_cluster(predictor, known_scene[2], graph(PAIRS), tmp_path / "p.h5", others)


def test_ray_that_is_not_installed_is_a_sentence(known_scene, options, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PredictorError, match=r"pip install 'dust3r_sfm\[ray\]'"):
        predict_on_cluster(load_predictor(options, 0), known_scene[2], graph(PAIRS), tmp_path / "p.h5", options)


def test_a_cluster_that_does_not_answer_is_a_sentence(known_scene, options, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(PredictorError, match=r"No Ray cluster can be reached at 127\.0\.0\.1:1; start one with"):
        predict_on_cluster(load_predictor(options, 0), known_scene[2], graph(PAIRS), tmp_path / "p.h5", options)
