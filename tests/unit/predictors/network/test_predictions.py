"""A network's predictions: those of the network itself, whatever is batched, stored on disk or done again."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.network import load_network, random_network
from dust3r_sfm.network.names import UNKNOWN_LICENCE
from dust3r_sfm.options import PredictOptions
from dust3r_sfm.predictors.dust3r import monocular
from dust3r_sfm.predictors.memory import MemoryLimits
from dust3r_sfm.predictors.run import predict_pairs, store_header

from .conftest import ALL, CONFIG, EDGES, MUCH, OPTIONS, SHAPES, assert_close, run, save, tensor


def test_both_directions_equal_the_network_called_directly(make, images, weights):
    network = load_network(weights)
    predictions = run(make(), images)
    assert sorted(predictions) == sorted(EDGES)
    for (i, j), prediction in predictions.items():
        first, second = images.views[i], images.views[j]
        assert prediction.points1.shape == (*SHAPES[first.name], 3)
        assert prediction.points2.shape == (*SHAPES[second.name], 3)
        assert all(values.dtype == np.float32 for values in vars(prediction).values() if values is not None)
        with torch.no_grad():
            direct = network(tensor(first), tensor(second))
        for side, view in ((1, first), (2, second)):
            np.testing.assert_allclose(
                getattr(prediction, f"points{side}"), getattr(direct, f"points{side}")[0], rtol=1e-5, atol=1e-5
            )
            shown = np.s_[:, 32:] if view.name == "e.png" else np.s_[:]
            confidence = getattr(prediction, f"confidence{side}")
            np.testing.assert_allclose(
                confidence[shown], getattr(direct, f"confidence{side}")[0].numpy()[shown], rtol=1e-5
            )
            assert (confidence >= 1).all()


def test_masked_pixels_are_unknown(make, images):
    predictions = run(make(), images)
    for confidence in (predictions[4, 0].confidence1, predictions[0, 4].confidence2):
        assert (confidence[:, :32] == 1).all() and (confidence[:, 32:] > 1).all()
    assert (predictions[4, 0].confidence2 > 1).all()


def test_each_photograph_is_encoded_once_and_its_own_part_computed_once_per_role(make, images, tmp_path, counted):
    predictor = make(limits=MemoryLimits(parts_bytes=MUCH))
    store = predict_pairs(predictor, images, ALL, tmp_path / "predictions.h5", OPTIONS)
    assert store.edges() == sorted(EDGES)
    assert sum(counted["encode"]) == len(images) and sum(counted["decode"]) == len(EDGES)
    assert sum(counted["project"]) == 2 * len(images)
    assert store.header.predictor == "dust3r-512-linear" and store.header.licence == UNKNOWN_LICENCE


def test_features_that_memory_cannot_hold_wait_on_disk(make, images, tmp_path, counted):
    """Photographs of four shapes, one with a mask: nothing is encoded twice, and half precision is all that is lost."""
    predictor = make()
    exact = predict_pairs(predictor, images, ALL, tmp_path / "memory.h5", OPTIONS)
    counted["encode"].clear()
    options = replace(OPTIONS, max_encoded=2)
    store = predict_pairs(predictor, images, ALL, tmp_path / "disk.h5", options)
    assert store.edges() == exact.edges() and sum(counted["encode"]) == len(images)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["disk.h5", "memory.h5"]
    for edge in EDGES:
        assert_close(store[edge], exact[edge], tolerance=2e-2)


def test_a_packed_feature_takes_what_was_said(make, images):
    predictor = make()
    for view, feature in zip(images.views, predictor.encode(images.views), strict=True):
        arrays = predictor.pack(feature)
        assert {array.dtype.name for array in arrays.values()} <= {"float16", "bool"}
        num_bytes = sum(array.nbytes for array in arrays.values())
        assert predictor.feature_bytes(view) - view.network_size[0] * view.network_size[1] <= num_bytes
        assert num_bytes <= predictor.feature_bytes(view)
        again = predictor.unpack(arrays, view)
        assert (again.name, again.shape) == (feature.name, feature.shape)
        torch.testing.assert_close(again.features.tokens.float(), feature.features.tokens, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(again.usable, feature.usable)


def test_two_runs_are_equal_and_a_resumed_one_too(make, images):
    whole = run(make(), images)
    pieces = {
        edge: prediction for edges in (EDGES[:7], EDGES[7:]) for edge, prediction in run(make(), images, edges).items()
    }
    for edge in EDGES:
        assert_close(whole[edge], pieces[edge], tolerance=0)


def test_batches_change_nothing(make, images, counted):
    alone = run(make(), images)
    assert set(counted["decode"]) == {1}
    counted["decode"].clear()
    together = run(make(limits=MemoryLimits(batch_pixels=4 * 64 * 64)), images)
    # a and d share a shape: they are encoded together, and so are their pairs with each other photograph.
    assert max(counted["encode"]) == 2 and max(counted["decode"]) == 2 and sum(counted["decode"]) == len(EDGES)
    for edge in EDGES:
        assert_close(alone[edge], together[edge])


def test_half_precision_is_close(make, images):
    exact = run(make(), images, EDGES[:4])
    for edge, prediction in run(make(precision="bfloat16"), images, EDGES[:4]).items():
        assert prediction.points1.dtype == np.float32
        assert not np.array_equal(prediction.points1, exact[edge].points1)
        error = np.linalg.norm(prediction.points2 - exact[edge].points2, axis=-1)
        assert error.mean() < 0.05 * np.linalg.norm(exact[edge].points2, axis=-1).mean()


def test_another_precision_never_uses_old_predictions(make, images):
    options = [PredictOptions(precision=precision) for precision in ("auto", "auto", "float32", "bfloat16")]
    prints = [store_header(make(), images, one, 0).fingerprint for one in options]
    assert prints[0] == prints[1] and len(set(prints)) == 3


def test_parts_are_bounded_while_it_runs_and_gone_afterwards(make, images, counted):
    predictor = make(limits=MemoryLimits(parts_bytes=0))
    features = dict(enumerate(predictor.encode(images.views)))
    bounded = {}
    for edge, prediction in predictor.predict(features, EDGES):
        assert not any(one.features.parts for one in features.values())
        bounded[edge] = prediction
    assert sum(counted["project"]) == 2 * len(EDGES)
    unbounded = make(limits=MemoryLimits(parts_bytes=MUCH)).predict(features, EDGES)
    kept = dict(next(unbounded) for _ in range(6))
    assert sum(bool(one.features.parts) for one in features.values()) == 4
    unbounded.close()
    assert not any(one.features.parts for one in features.values())
    for edge, prediction in kept.items():
        assert_close(prediction, bounded[edge], tolerance=0)


def test_values_that_are_no_numbers_are_refused(make, images, tmp_path):
    network = random_network(CONFIG, 0)
    with torch.no_grad():
        network.downstream_head2.proj.weight.mul_(1e6)
    with pytest.raises(PredictorError, match=r"no finite numbers for a\.png – b\.png"):
        run(make(source=save(tmp_path / "wild.pth", network)), images)


def test_confidence_begins_at_one_whatever_the_network_says(make, images, tmp_path):
    source = save(tmp_path / "sigmoid.pth", random_network(CONFIG, 0), confidence="('sigmoid', 0, 1)")
    confidence = run(make(source=source), images, [(0, 1)])[0, 1].confidence1
    assert (confidence > 1).all() and (confidence < 2).all()


def test_one_photograph_with_itself(make, images, weights):
    predictor, view = make(), images.views[1]
    prediction = monocular(predictor, view)
    with torch.no_grad():
        direct = load_network(weights)(tensor(view), tensor(view))
    np.testing.assert_allclose(prediction.points1, direct.points1[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(prediction.points2, direct.points2[0], rtol=1e-5, atol=1e-5)
