import argparse
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dust3r_sfm.errors import OutputError, WeightsError
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.network import KNOWN_WEIGHTS, NetworkConfig, load_network, random_network
from dust3r_sfm.options import ImageOptions, PredictOptions
from dust3r_sfm.predictors.dust3r import Dust3r512Dpt, Mast3r512
from dust3r_sfm.predictors.memory import MemoryLimits
from dust3r_sfm.predictors.run import predict_pairs
from dust3r_sfm.predictors.store import estimated_size
from dust3r_sfm.types import PairGraph

INF = float("inf")
CONFIG = NetworkConfig(
    encoder_width=48,
    encoder_depth=2,
    encoder_heads=3,
    decoder_width=32,
    decoder_depth=4,
    decoder_heads=2,
    head="catmlp+dpt",
    descriptor_size=6,
    descriptor_confidence_mode=("exp", 0.0, INF),
    dpt_widths=(16, 8, 12, 16, 24, 8),
)
BACKBONE = (
    "pos_embed='RoPE100', img_size=(64, 64), enc_embed_dim=48, enc_depth=2, enc_num_heads=3, dec_embed_dim=32, "
    "dec_depth=4, dec_num_heads=2, dpt_widths=(16, 8, 12, 16, 24, 8), depth_mode=('exp', -inf, inf), "
    "conf_mode=('exp', 1, inf)"
)
MAST3R = (
    f"AsymmetricMASt3R({BACKBONE}, head_type='catmlp+dpt', output_mode='pts3d+desc6', two_confs=True, "
    "desc_mode='norm', desc_conf_mode=('exp', 0, inf))"
)
GRAPH = PairGraph(num_images=2, edges=np.array([(0, 1)]), weights=np.ones(1))


@pytest.fixture
def small():
    """One thread."""
    torch.set_num_threads(1)


def save(path, config, call):
    torch.save({"args": argparse.Namespace(model=call), "model": random_network(config, 0).state_dict()}, path)
    return PredictOptions(weights=str(path), device="cpu", num_workers=1)


@pytest.fixture
def options(tmp_path, small):
    return save(tmp_path / "small.pth", CONFIG, MAST3R)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for seed, size in enumerate([(64, 48), (48, 64)]):
        pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return read_images(folder, ImageOptions(), Grid(size=64, multiple_of=16))


def test_descriptors_come_with_the_points(options, images):
    predictor = Mast3r512(options, 0)
    features = dict(enumerate(predictor.encode(images.views)))
    predictions = dict(predictor.predict(features, [(0, 1), (1, 0)]))
    network = load_network(options.weights)
    pixels = [np.asarray(Image.open(view.path)) for view in images.views]
    tensors = [torch.from_numpy(array.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1 for array in pixels]
    for (i, j), prediction in predictions.items():
        with torch.no_grad():
            direct = network(tensors[i], tensors[j])
        names = ("points", "confidence", "descriptors", "descriptor_confidence")
        for name in (f"{name}{view}" for name in names for view in (1, 2)):
            np.testing.assert_allclose(getattr(prediction, name), getattr(direct, name)[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(prediction.descriptors1, axis=-1), 1, atol=1e-5)
    assert predictions[0, 1].descriptors1.shape == (48, 64, 6) and predictions[0, 1].descriptors2.shape == (64, 48, 6)


def test_pictures_without_a_file_are_predicted_in_order(options, images):
    predictor = Mast3r512(options, 0, MemoryLimits(batch_pixels=2 * 64 * 48))
    first, second = (np.asarray(Image.open(view.path)) for view in images.views)
    predictions = list(predictor.predict_pixels([(first, second), (first[::-1], second), (first, second)]))
    features = dict(enumerate(predictor.encode(images.views)))
    ((_, expected),) = predictor.predict(features, [(0, 1)])
    for prediction in (predictions[0], predictions[2]):
        np.testing.assert_allclose(prediction.points2, expected.points2, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(prediction.descriptors1, expected.descriptors1, rtol=1e-4, atol=1e-5)
    assert np.abs(predictions[1].points1 - expected.points1).max() > 0.01


def test_descriptors_reach_the_store(options, images, tmp_path):
    predictor = Mast3r512(options, 0)
    store = predict_pairs(predictor, images, GRAPH, tmp_path / "predictions.h5", options)
    assert store.edges() == [(0, 1), (1, 0)]
    stored = store[1, 0]
    np.testing.assert_allclose(np.linalg.norm(stored.descriptors2, axis=-1), 1, atol=2e-3)
    features = dict(enumerate(predictor.encode(images.views)))
    ((_, prediction),) = predictor.predict(features, [(1, 0)])
    for name in ("descriptor_confidence1", "descriptor_confidence2"):
        np.testing.assert_allclose(getattr(stored, name), getattr(prediction, name), rtol=1e-3)
    bound = estimated_size(images, 2, CONFIG.descriptor_size)
    assert bound / 2 < (tmp_path / "predictions.h5").stat().st_size < bound
    assert predictor.descriptor_size == CONFIG.descriptor_size and Mast3r512.descriptor_size == 24


def test_the_room_for_descriptors_is_asked_for_before_the_work(options, images, tmp_path, monkeypatch):
    predictor = Mast3r512(options, 0)
    plain, described = estimated_size(images, 2), estimated_size(images, 2, CONFIG.descriptor_size)
    assert described > 2 * plain and estimated_size(images, 2, 24) > 5 * plain
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=described - 1))
    with pytest.raises(OutputError, match=r"predictions.h5 would take up to"):
        predict_pairs(predictor, images, GRAPH, tmp_path / "predictions.h5", options)
    assert not (tmp_path / "predictions.h5").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=described))
    assert len(predict_pairs(predictor, images, GRAPH, tmp_path / "predictions.h5", options)) == 2


def test_the_two_families_refuse_each_other(options, images, tmp_path):
    with pytest.raises(WeightsError, match="--predictor mast3r-512"):
        Dust3r512Dpt(options, 0).prepare(images, GRAPH)
    plain = replace(CONFIG, head="dpt", descriptor_size=0, descriptor_confidence_mode=None)
    other = save(tmp_path / "plain.pth", plain, f"AsymmetricCroCo3DStereo({BACKBONE}, head_type='dpt')")
    Dust3r512Dpt(other, 0).prepare(images, GRAPH)
    with pytest.raises(WeightsError, match="--predictor dust3r-512-dpt"):
        Mast3r512(other, 0).prepare(images, GRAPH)


def test_what_it_says_about_itself():
    predictor = Mast3r512(PredictOptions(), 0)
    assert predictor.name == "mast3r-512" and predictor.licence == KNOWN_WEIGHTS["mast3r-512"].licence
    assert "Map-free" in predictor.licence and predictor.grid == Grid(size=512, multiple_of=16)
