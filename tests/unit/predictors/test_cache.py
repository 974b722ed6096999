"""Photographs are encoded once, however few of them memory holds, however often the run is killed."""

import contextlib
import errno
from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.errors import OutputError
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.options import PredictOptions
from dust3r_sfm.predictors import cache as cache_module
from dust3r_sfm.predictors import store as store_module
from dust3r_sfm.predictors.predictor import StoresFeatures
from dust3r_sfm.predictors.run import predict_pairs
from dust3r_sfm.system import hdf5 as hdf5_module
from dust3r_sfm.system.hdf5 import write_arrays
from dust3r_sfm.system.hdf5_writer import new_file
from dust3r_sfm.types import PairGraph, PairPrediction

OPTIONS = PredictOptions(predictor="encoder", max_encoded=3)
NUM_IMAGES = 7
PAIRS = np.array([(i, j) for i in range(NUM_IMAGES) for j in range(i + 1, NUM_IMAGES)])
ALL = PairGraph(num_images=NUM_IMAGES, edges=PAIRS, weights=np.ones(len(PAIRS)))


class _Encoder:
    """A feature is a row of numbers made from the photograph's name; predictions show every bit of it."""

    name, licence, grid = "encoder", "MIT", Grid(size=64)

    def __init__(self, fail_after: int | None = None) -> None:
        self.encoded: list[str] = []
        self.most_features = self.num_predicted = 0
        self.fail_after = fail_after

    def prepare(self, images, graph):
        pass

    def encode(self, views):
        self.encoded += [view.name for view in views]
        return [np.random.default_rng([*view.name.encode()]).standard_normal(8).astype(np.float32) for view in views]

    def predict(self, features, edges):
        self.most_features = max(self.most_features, len(features))
        for i, j in edges:
            if self.num_predicted == self.fail_after:
                raise KeyboardInterrupt
            self.num_predicted += 1
            yield (i, j), self._say(features[i].astype(np.float64), features[j].astype(np.float64), i, j)

    def _say(self, one, other, i, j):
        shapes = [self.sizes[k][::-1] for k in (i, j)]
        maps = [np.full((*shape, 3), 1 + one @ other % 1, np.float32) for shape in shapes]
        twos = [np.full(shape, 2, np.float32) for shape in shapes]
        return PairPrediction(points1=maps[0], confidence1=twos[0], points2=maps[1], confidence2=twos[1])

    def describe(self, views):
        return None


class _Storing(_Encoder):
    def feature_bytes(self, view):
        return 16

    def pack(self, feature):
        return {"row": feature.astype(np.float16)}

    def unpack(self, arrays, view):
        return arrays["row"]


@pytest.fixture
def images(known_scene, monkeypatch):
    images = known_scene[2]
    monkeypatch.setattr(_Encoder, "sizes", [view.network_size for view in images.views], raising=False)
    monkeypatch.setattr(store_module, "MAX_PART_BYTES", 1)
    return images


def assert_equal(one, other):
    assert one.edges() == other.edges()
    for edge in one:
        np.testing.assert_array_equal(one[edge].points1, other[edge].points1)


def test_each_photograph_is_encoded_once_with_few_in_memory(tmp_path, images):
    predictor = _Storing()
    assert isinstance(predictor, StoresFeatures) and not isinstance(_Encoder(), StoresFeatures)
    store = predict_pairs(predictor, images, ALL, tmp_path / "p.h5", OPTIONS)
    assert len(store) == 42 and sorted(predictor.encoded) == sorted(images.names)
    assert predictor.most_features <= 3
    assert [file.name for file in tmp_path.iterdir()] == ["p.h5"]


def test_a_predictor_that_cannot_store_features_encodes_again(tmp_path, images):
    predictor = _Encoder()
    assert len(predict_pairs(predictor, images, ALL, tmp_path / "p.h5", OPTIONS)) == 42
    assert len(predictor.encoded) > NUM_IMAGES and predictor.most_features <= 3


def test_memory_that_holds_all_needs_no_disk(tmp_path, images, monkeypatch):
    monkeypatch.setattr(_Storing, "pack", None)
    predict_pairs(_Storing(), images, ALL, tmp_path / "p.h5", replace(OPTIONS, max_encoded=NUM_IMAGES))


def test_memory_and_disk_give_the_same_numbers(tmp_path, images):
    """Whatever is kept at a time, and however many edges are left of a run that was broken off."""
    whole = predict_pairs(_Storing(), images, ALL, tmp_path / "whole.h5", OPTIONS)
    for max_encoded in (1, 6):
        other = predict_pairs(
            _Storing(), images, ALL, tmp_path / f"{max_encoded}.h5", replace(OPTIONS, max_encoded=max_encoded)
        )
        assert_equal(whole, other)
    with pytest.raises(KeyboardInterrupt):
        predict_pairs(_Storing(40), images, ALL, tmp_path / "resumed.h5", OPTIONS)
    assert_equal(whole, predict_pairs(_Storing(), images, ALL, tmp_path / "resumed.h5", OPTIONS))


@pytest.mark.parametrize("fail_after", [0, 5, 20, 41])
def test_a_killed_run_goes_on_with_what_it_had_encoded(tmp_path, images, fail_after):
    first, second = _Storing(fail_after), _Storing()
    with pytest.raises(KeyboardInterrupt):
        predict_pairs(first, images, ALL, tmp_path / "p.h5", OPTIONS)
    store = predict_pairs(second, images, ALL, tmp_path / "p.h5", OPTIONS)
    assert len(store) == 42 and second.num_predicted == 42 - fail_after
    assert sorted(first.encoded + second.encoded) == sorted(images.names)
    assert [file.name for file in tmp_path.iterdir()] == ["p.h5"]


def test_damaged_and_foreign_features_are_made_again(tmp_path, images):
    with pytest.raises(KeyboardInterrupt):
        predict_pairs(_Storing(20), images, ALL, tmp_path / "p.h5", OPTIONS)
    files = sorted(store_module.features_folder(tmp_path / "p.h5").iterdir())
    files[0].write_bytes(files[0].read_bytes()[:100])
    write_arrays(files[1], "of other weights", {})
    second = _Storing()
    assert len(predict_pairs(second, images, ALL, tmp_path / "p.h5", OPTIONS)) == 42
    assert len(second.encoded) == NUM_IMAGES - len(files) + 2


def test_a_kill_loses_one_call_of_the_encoder_at_most(tmp_path, images, monkeypatch):
    monkeypatch.setattr(cache_module, "PHOTOGRAPHS_PER_CALL", 2)
    encode, calls = _Storing.encode, []

    def interrupted(self, views):
        calls.append(len(views))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(self, views)

    monkeypatch.setattr(_Storing, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_pairs(_Storing(), images, ALL, tmp_path / "p.h5", replace(OPTIONS, max_encoded=6))
    assert max(calls) == 2 and len(list(store_module.features_folder(tmp_path / "p.h5").iterdir())) == sum(calls[:2])


def test_no_space_for_the_features_is_noticed_before_the_work(tmp_path, images, monkeypatch):
    monkeypatch.setattr(_Storing, "feature_bytes", lambda self, view: 10**20)
    predictor = _Storing()
    with pytest.raises(OutputError, match=r"p\.h5 would take up to .* GB of the disk are free; free some space"):
        predict_pairs(predictor, images, ALL, tmp_path / "p.h5", OPTIONS)
    assert predictor.encoded == [] and not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_is_one_sentence_and_keeps_what_is_there(tmp_path, images, monkeypatch):
    folder = store_module.features_folder(tmp_path / "p.h5")

    @contextlib.contextmanager
    def fill_up(path):
        with new_file(path) as h5:
            yield h5
            if path.parent == folder and len(list(folder.glob("[!.]*"))) == 5:
                raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(hdf5_module, "new_file", fill_up)
        patch.setattr(store_module, "MAX_PART_BYTES", 1 << 30)
        with pytest.raises(OutputError, match="disk is full"):
            predict_pairs(_Storing(), images, ALL, tmp_path / "p.h5", OPTIONS)
    assert len(store_module.PredictionStore(tmp_path / "p.h5", images.names)) > 0
    second = _Storing()
    assert len(predict_pairs(second, images, ALL, tmp_path / "p.h5", OPTIONS)) == 42
    assert len(second.encoded) == NUM_IMAGES - 5


def test_shards_encode_their_own_photographs_once(tmp_path, images):
    graph = PairGraph(num_images=7, edges=np.array([(k, k + 1) for k in range(6)]), weights=np.ones(6))
    encoded = []
    for index in (1, 2):
        predictor = _Storing()
        options = replace(OPTIONS, shard=f"{index}/2", max_encoded=2)
        shard = predict_pairs(predictor, images, graph, tmp_path / "p.h5", options)
        assert len(shard) == 6 and len(predictor.encoded) == len(set(predictor.encoded)) == 4
        encoded += predictor.encoded
    assert len(encoded) == NUM_IMAGES + 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["p.1-of-2.h5", "p.2-of-2.h5"]
    last = _Storing()
    assert len(predict_pairs(last, images, graph, tmp_path / "p.h5", OPTIONS)) == 12 and not last.encoded
