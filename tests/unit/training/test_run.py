"""The command: data sets from a file, presets with changes, refusals in a sentence, several processes."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch

from dust3r_sfm.cli import main
from dust3r_sfm.network.checkpoint import read_checkpoint
from dust3r_sfm.training import presets, run
from dust3r_sfm.training.data_file import read_data

DATA = """
[[train]]
kind = "folder"
images = "images"
depths = "depth"
cameras = "poses.json"
pairs_per_epoch = 8

[[validation]]
kind = "folder"
images = "images"
depths = "depth"
cameras = "poses.json"
pairs_per_epoch = 2
"""


@pytest.fixture
def data(folder, tiny_preset, monkeypatch):
    monkeypatch.setitem(presets.PRESETS, "tiny", tiny_preset)
    (folder / "data.toml").write_text(DATA)
    return folder / "data.toml"


def arguments(data, out, *more):
    return ["train", str(out), "--preset", "tiny", "--data", str(data), "--device", "cpu", "--num-workers", "0", *more]


def test_the_command_trains_and_goes_on(data, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(arguments(data, out, "--epochs", "1")) == 0
    assert str(out / "best") in capsys.readouterr().out
    assert main(arguments(data, out, "--epochs", "1")) == 1
    assert "--resume" in capsys.readouterr().err
    assert main(arguments(data, out, "--epochs", "1", "--resume", "--seed", "5")) == 1
    assert "seed 0, not 5" in capsys.readouterr().err
    assert main(arguments(data, out, "--epochs", "1", "--resume")) == 0


def test_training_starts_from_other_weights(data, tmp_path, capsys):
    assert main(arguments(data, tmp_path / "first", "--epochs", "1")) == 0
    start = ("--start", str(tmp_path / "first" / "weights"), "--learning-rate", "1e-9", "--epochs", "1")
    assert main(arguments(data, tmp_path / "second", *start)) == 0
    states = [read_checkpoint(tmp_path / name / "weights").state for name in ("first", "second")]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense = [", "cannot be read"),
        ("[[validation]]\nkind = 'folder'", "needs [[train]]"),
        ("[[train]]\nkind = 'other'\npairs_per_epoch = 3", "blended-mvs, folder"),
        ("[[train]]\nkind = 'folder'\npairs_per_epoch = 3", "other fields"),
        ("[[train]]\nkind = 'blended-mvs'\nroot = 'gone'\npairs_per_epoch = 3", "preprocessing of BlendedMVS"),
    ],
)
def test_bad_data_files_are_sentences(data, tmp_path, capsys, text, message):
    data.write_text(text)
    assert main(arguments(data, tmp_path / "out")) == 1
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1


def test_a_start_that_fails_leaves_no_claim(data, tmp_path, capsys):
    out, text = tmp_path / "out", data.read_text()
    data.write_text(text.replace('depths = "depth"', 'depths = "gone"'))
    assert main(arguments(data, out)) == 1
    assert "depth maps" in capsys.readouterr().err
    data.write_text(text)
    assert main(arguments(data, out, "--start", str(tmp_path / "gone.pth"))) == 1
    assert main(arguments(data, out, "--batch-size", "64")) == 1
    assert "less than one step" in capsys.readouterr().err
    assert not out.exists()
    assert main(arguments(data, out, "--epochs", "1")) == 0


def test_presets_need_data_and_a_name(tmp_path, capsys):
    assert main(["train", str(tmp_path / "out"), "--preset", "224-linear"]) == 1
    assert "--data" in capsys.readouterr().err
    assert main(["train", str(tmp_path / "out"), "--preset", "huge"]) == 1
    assert "512-dpt" in capsys.readouterr().err


def test_the_recipe_s_presets_are_the_released_ones():
    names = list(presets.PRESETS)
    assert names[:3] == ["224-linear", "512-linear", "512-dpt"]
    linear = presets.PRESETS["224-linear"]
    assert (linear.schedule.epochs, linear.schedule.warmup, linear.batch_size * 8) == (100, 10, 128)
    assert run._preset(run.TrainOptions(epochs=10.0)).schedule.warmup == pytest.approx(1.0)


def test_relative_paths_are_relative_to_the_file(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    training, validation = read_data(data, [(48, 32)], 2, 0)
    assert training.batches_per_epoch() == 4 and validation.batches_per_epoch() == 1


@pytest.mark.slow
def test_two_processes_train_together(data, tmp_path, tiny_preset):
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            from dust3r_sfm.cli import main
            from dust3r_sfm.network.config import NetworkConfig
            from dust3r_sfm.training import presets
            from dust3r_sfm.training.schedule import Schedule
            config = NetworkConfig(image_size=(32, 48), encoder_width=32, encoder_depth=2, encoder_heads=2,
                                   decoder_width=32, decoder_depth=2, decoder_heads=2, head="linear")
            presets.PRESETS["tiny"] = presets.Preset(
                name="tiny", config=config, start="", sizes=((48, 32),), batch_size=2, accumulation=2,
                schedule=Schedule(peak=1e-3, warmup=0.2, epochs=1.0), pairs_per_epoch=8)
            sys.exit(main(sys.argv[1:]))
            """
        )
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29533"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [*command, str(script), *arguments(data, tmp_path / "out")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "best" / "model.safetensors").is_file()
    assert len((tmp_path / "out" / "log.csv").read_text().splitlines()) == 3
