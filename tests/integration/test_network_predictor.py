"""A network predictor from the command line, with a small network of random weights in the place of published ones."""

import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from dust3r_sfm.cli import main
from dust3r_sfm.network import NetworkConfig, random_network
from dust3r_sfm.predictors.store import PredictionStore

CONFIG = NetworkConfig(
    encoder_width=48,
    encoder_depth=1,
    encoder_heads=3,
    decoder_width=32,
    decoder_depth=1,
    decoder_heads=2,
    head="linear",
)
CALL = (
    "AsymmetricCroCo3DStereo(pos_embed='RoPE100', img_size=(224, 224), enc_embed_dim=48, enc_depth=1, enc_num_heads=3, "
    "dec_embed_dim=32, dec_depth=1, dec_num_heads=2, depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf))"
)


def save(path: Path, seed: int = 0) -> Path:
    state = random_network(CONFIG, seed).state_dict()
    torch.save({"args": argparse.Namespace(model=CALL), "model": state}, path)
    return path


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def photos(sample_folder, tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in sorted((sample_folder / "images").iterdir())[:4]:
        shutil.copy(path, folder)
    return folder


def predict(photos: Path, out: Path, weights: Path | None, *words: str) -> int:
    given = [] if weights is None else ["--weights", str(weights)]
    return main(
        ["predict", str(photos), str(out), "--predictor", "dust3r-224-linear", "--device", "cpu", *given, *words]
    )


def test_the_record_says_which_weights(photos, tmp_path):
    weights, out = save(tmp_path / "small.pth"), tmp_path / "out"
    assert predict(photos, out, weights, "--max-encoded", "2") == 0
    source = json.loads((out / "run.json").read_text())["predictor"]["source"]
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert source == {"name": str(weights), "path": str(weights), "sha256": digest}
    names = sorted(path.name for path in photos.iterdir())
    assert len(PredictionStore(out / "predictions.h5", names)) == 12 and not list(out.glob("*.parts"))


def test_other_weights_under_the_same_name_are_another_run(photos, tmp_path, capsys):
    weights, out = save(tmp_path / "small.pth"), tmp_path / "out"
    assert predict(photos, out, weights) == 0
    save(weights, seed=1)
    assert predict(photos, out, weights) == 1
    assert "other weights under the same name" in capsys.readouterr().err
    assert predict(photos, out, weights, "--overwrite") == 0


def rubbish(folder: Path) -> dict[str, Path | None]:
    whole = save(folder / "whole.pth").read_bytes()
    (folder / "truncated.pth").write_bytes(whole[: len(whole) // 2])
    (folder / "text.pth").write_text("weights")
    torch.save({"model": {"conv1.weight": torch.zeros(3)}}, folder / "resnet.pth")
    damaged = torch.load(folder / "whole.pth", weights_only=False)
    damaged["model"]["enc_norm.weight"][0] = float("nan")
    torch.save(damaged, folder / "nan.pth")
    names = ("truncated", "text", "resnet", "nan", "missing")
    return {name: folder / f"{name}.pth" for name in names} | {"no connection": None}


def test_weights_that_cannot_be_used_are_a_sentence_before_any_work(photos, tmp_path, capsys):
    out = tmp_path / "out"  # stays free for the next try
    for name, weights in rubbish(tmp_path).items():
        assert predict(photos, out, weights) == 1, name
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dust3r-sfm:")]
        assert len(lines) == 1 and (weights.name if weights else "dust3r_sfm[hub]") in lines[0]
        assert not out.exists()


def test_no_space_for_the_features_is_a_sentence_before_the_work(photos, tmp_path, capsys, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    predictions = 12 * (2 * 224 * 224 * 8 + 4096)
    weights = save(tmp_path / "small.pth")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=predictions + 10_000))
    assert predict(photos, tmp_path / "out", weights, "--max-encoded", "2") == 1
    assert "of the disk are free" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("predictions*"))
    assert predict(photos, tmp_path / "out", weights) == 0
