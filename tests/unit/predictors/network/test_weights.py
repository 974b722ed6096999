"""The weights behind a predictor: where they are found, what is refused, and what is recorded of them."""

import argparse
import hashlib
import logging
import subprocess
import sys

import pytest
import torch

from dust3r_sfm.errors import InputError, PredictorError, WeightsError
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.network import KNOWN_WEIGHTS, CompletionNetwork, load_network, random_network
from dust3r_sfm.network.names import UNKNOWN_LICENCE
from dust3r_sfm.predictors.dust3r import Dust3r224Linear, Dust3r512Dpt, Dust3r512Linear
from dust3r_sfm.predictors.predictor import LoadsWeights, PairPredictor, StoresFeatures, check_predictor
from dust3r_sfm.predictors.run import predict_pairs
from dust3r_sfm.system.device import choose_device

from .conftest import ALL, BACKBONE, CONFIG, EDGES, OPTIONS, run, save


def test_other_weights_never_use_old_predictions(make, images, tmp_path):
    """Not even under the old name; the same weights under another name do."""
    path, store_path = tmp_path / "a.pth", tmp_path / "p.h5"
    predictor = make(source=save(path, random_network(CONFIG, 1)))
    predict_pairs(predictor, images, ALL, store_path, OPTIONS)
    renamed = make(source=path.rename(tmp_path / "b.pth"))
    assert len(predict_pairs(renamed, images, ALL, store_path, OPTIONS)) == len(EDGES)
    save(path, random_network(CONFIG, 2))
    other = make(source=path)
    with pytest.raises(InputError, match=r"p\.h5 holds predictions of another run .*weights"):
        predict_pairs(other, images, ALL, store_path, OPTIONS)


def test_weights_are_checked_once_and_say_where_they_came_from(make, images, weights, monkeypatch):
    predictor, calls = make(), []
    monkeypatch.setattr("dust3r_sfm.network.load_network", lambda source: calls.append(source) or load_network(source))
    facts = check_predictor(predictor)
    predictor.check()
    predictor.prepare(images, ALL)
    assert calls == [str(weights)]
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert facts["source"] == {"name": str(weights), "path": str(weights), "sha256": digest}
    assert facts["name"] == "dust3r-512-linear" and facts["licence"] == UNKNOWN_LICENCE


def test_making_one_loads_nothing_and_prepare_says_what_is_missing(make, images, tmp_path):
    predictor = make(source=tmp_path / "missing.pth")
    with pytest.raises(WeightsError, match=r"no weights file '.*missing\.pth'.*known names"):
        predictor.prepare(images, ALL)
    known = KNOWN_WEIGHTS["dust3r-512-dpt"]
    with pytest.raises(WeightsError) as caught:
        make(Dust3r512Dpt, source=None).prepare(images, ALL)
    assert known.url in str(caught.value) and "dust3r_sfm[hub]" in str(caught.value)


def test_the_known_weights_are_found_by_name(images, tmp_path, make):
    known = KNOWN_WEIGHTS["dust3r-512-linear"]
    folder = tmp_path / "cache" / "dust3r_sfm" / "weights"
    folder.mkdir(parents=True)
    save(folder / known.file_name, random_network(CONFIG, 0))
    predictor = make(source=None)
    assert predictor.licence == known.licence and predictor.source is None
    predictor.prepare(images, ALL)
    assert predictor.source.path == folder / known.file_name and len(predictor.source.sha256) == 64


def test_the_licence_is_said_once(make, images, caplog):
    predictor = make()
    with caplog.at_level(logging.WARNING, "dust3r_sfm"):
        predictor.prepare(images, ALL)
        run(predictor, images)
    assert [UNKNOWN_LICENCE in message for message in caplog.messages] == [True]
    assert KNOWN_WEIGHTS["dust3r-512-dpt"].licence == make(Dust3r512Dpt, source=None).licence


def test_a_start_for_training_is_refused(make, images, tmp_path):
    network = CompletionNetwork(CONFIG)
    network.initialize()
    path = tmp_path / "CroCo_small.pth"
    call = argparse.Namespace(model=f"CroCoNet({BACKBONE})")
    torch.save({"args": call, "model": network.state_dict()}, path)
    with pytest.raises(WeightsError, match="start for training"):
        make(source=path).prepare(images, ALL)


def test_weights_of_another_predictor_name_it(make):
    with pytest.raises(PredictorError, match="--predictor dust3r-512-dpt"):
        make(Dust3r224Linear, source="naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt")
    make(Dust3r512Dpt, source="elsewhere/DUSt3R_ViTLarge_BaseDecoder_512_dpt.pth")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:1", "", "meta"])
def test_a_device_that_is_not_there_is_a_sentence(make, images, device):
    with pytest.raises(PredictorError, match="device"):
        make(device=device).prepare(images, ALL)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(2, True, "cuda"), (0, True, "mps"), (0, False, "cpu")], ids=["cuda", "mps", "cpu"]
)
def test_auto_takes_the_best_device(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == torch.device(expected)
    assert choose_device("cpu") == torch.device("cpu")


def test_grids(make):
    assert make(Dust3r512Dpt).grid == make(Dust3r512Linear).grid == Grid(size=512, multiple_of=16)
    assert make(Dust3r224Linear).grid == Grid(size=224, multiple_of=16, square_crop=True)
    assert all(isinstance(make(), protocol) for protocol in (PairPredictor, StoresFeatures, LoadsWeights))
    assert make().describe([]) is None


def test_listing_does_not_wait_for_pytorch():
    code = "import sys, dust3r_sfm.predictors.dust3r; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
