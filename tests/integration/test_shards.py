"""A run that several processes share in one output folder ends like one that a single process made."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.cli import main
from dust3r_sfm.errors import InputError
from dust3r_sfm.options import PredictOptions, ReconstructOptions, RunOptions
from dust3r_sfm.predictors.store import PredictionStore
from dust3r_sfm.reconstruct import reconstruct


def arguments(sample_folder: Path, out: Path, verb: str = "predict") -> list[str]:
    weights = str(sample_folder / "truth" / "scene.h5")
    words = [verb, str(sample_folder / "images"), str(out), "--predictor", "oracle", "--weights", weights]
    words += ["--matcher", "sift"]  # shards are processes of their own
    return [*words, "--refine", "none"] if verb == "reconstruct" else words


def load(folder: Path, sample_folder: Path) -> PredictionStore:
    names = sorted(path.name for path in (sample_folder / "images").iterdir())
    return PredictionStore(folder / "predictions.h5", names)


@pytest.fixture(scope="module")
def whole(sample_folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    assert main(arguments(sample_folder, out)) == 0
    return out


def assert_same_predictions(out: Path, whole: Path, sample_folder: Path) -> None:
    ours, theirs = load(out, sample_folder), load(whole, sample_folder)
    assert ours.edges() == theirs.edges() and len(ours) == 30
    for edge in ours:
        np.testing.assert_array_equal(ours[edge].points2, theirs[edge].points2)


@pytest.mark.slow
def test_three_shards_at_the_same_time_and_then_the_model(sample_folder, tmp_path, whole):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "dust3r_sfm.cli", *arguments(sample_folder, out)]
    running = [
        subprocess.Popen([*command, "--shard", f"{index}/3"], stderr=subprocess.PIPE, text=True) for index in (1, 2, 3)
    ]
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    records = {f"run.{index}-of-3.json" for index in (1, 2, 3)}
    stores = {f"predictions.{index}-of-3.h5" for index in (1, 2, 3)}
    assert {path.name for path in out.iterdir()} == {"pairs.txt", "digests.json", *records, *stores}
    assert_same_predictions(out, whole, sample_folder)

    assert main(arguments(sample_folder, out, "reconstruct")) == 0
    record = json.loads((out / "run.json").read_text())
    assert record["stages"]["predict"]["done"] and record["summary"]["num_points"] > 500
    before = (out / "scene.h5").stat().st_mtime_ns
    assert main(arguments(sample_folder, out, "reconstruct")) == 0
    assert (out / "scene.h5").stat().st_mtime_ns == before


def test_a_missing_shard_is_named_and_predicted(sample_folder, tmp_path, whole, caplog):
    out = tmp_path / "out"
    assert main([*arguments(sample_folder, out), "--shard", "1/2"]) == 0
    assert main(arguments(sample_folder, out)) == 0
    assert any("predictions.2-of-2.h5 is missing" in message for message in caplog.messages)
    assert_same_predictions(out, whole, sample_folder)


@pytest.mark.parametrize("words", [["--shard", "3/2"], ["--shard", "1/2", "--overwrite"], ["--shard", "1/2", "--ray"]])
def test_what_does_not_go_together_is_a_sentence(sample_folder, tmp_path, capsys, words):
    assert main([*arguments(sample_folder, tmp_path / "out"), *words]) == 1
    assert "--shard" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_shard_of_the_whole_chain_is_a_sentence(sample_folder, tmp_path):
    predict = PredictOptions(predictor="oracle", weights=str(sample_folder / "truth" / "scene.h5"), shard="1/2")
    with pytest.raises(InputError, match="`dust3r-sfm reconstruct` without --shard"):
        reconstruct(sample_folder / "images", tmp_path / "out", ReconstructOptions(predict=predict, run=RunOptions()))
