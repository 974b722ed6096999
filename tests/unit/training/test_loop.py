"""Training goes on exactly where it stopped, keeps what it has, and learns."""

import json
import os

import pytest
import torch

from dust3r_sfm.errors import InputError, OutputError, TrainingError
from dust3r_sfm.network import load_network
from dust3r_sfm.network.weights import random_network
from dust3r_sfm.training.datasets.mixture import Mixture, Share
from dust3r_sfm.training.loop import LoopOptions, Trainer

CPU = torch.device("cpu")


class Stop(Exception):
    """Stands for a killed process."""


def mixture(preset, source, seed=0):
    share = Share(source=source, pairs_per_epoch=preset.pairs_per_epoch)
    return Mixture(shares=[share], sizes=preset.sizes, batch_size=preset.batch_size, seed=seed)


@pytest.fixture
def make_trainer(tiny_preset, make_source):
    def make(out, *, resume=False, validation=True, source=None, **options):
        return Trainer(
            tiny_preset,
            random_network(tiny_preset.config, seed=1),
            (
                mixture(tiny_preset, source or make_source()),
                mixture(tiny_preset, make_source(4), seed=9) if validation else None,
            ),
            out,
            device=CPU,
            options=LoopOptions(**{"num_workers": 2, "log_every": 1, "save_every": 1, "resume": resume, **options}),
        )

    return make


@pytest.mark.parametrize("average", [None, 0.9])
def test_a_resumed_run_gives_the_same_bits(make_trainer, tmp_path, average):
    whole = make_trainer(tmp_path / "whole", average=average)
    whole.run()

    killed = make_trainer(tmp_path / "killed", average=average)
    learn, count = killed._learn, [0]

    def dies(*arguments, **more):
        count[0] += 1
        if count[0] == 12:  # in the middle of the second epoch, between two passes of one step
            raise Stop
        return learn(*arguments, **more)

    killed._learn = dies
    with pytest.raises(Stop):
        killed.run()
    resumed = make_trainer(tmp_path / "killed", resume=True, average=average)
    assert resumed.position.epoch == 1 and resumed.position.step == 1
    resumed.run()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    if average:
        for name, value in whole.average.state_dict().items():
            assert torch.equal(value, resumed.average.state_dict()[name]), name
    numbers = [
        [(row["epoch"], row["step"], row["kind"], row["loss"]) for row in run.log.rows()] for run in (whole, resumed)
    ]
    assert numbers[0] == numbers[1]


def test_the_loss_falls_and_the_best_weights_are_a_network(make_trainer, tmp_path):
    trainer = make_trainer(tmp_path)
    best = trainer.run()
    rows = trainer.log.rows()
    losses = [float(row["loss"]) for row in rows if row["kind"] == "train"]
    assert len(losses) == 8
    assert losses[-1] < losses[0]
    validations = [row for row in rows if row["kind"] == "validation"]
    assert len(validations) == 2 and json.loads(validations[0]["details"])["points1"] > 0
    network = load_network(best)
    assert network.source.report.missing == ()
    assert (tmp_path / "validation.png").stat().st_size > 1000
    assert (tmp_path / "log.svg").read_text().count("<polyline") == 2


def test_a_loss_that_is_no_number_stops_with_the_checkpoint_whole(make_trainer, make_source, tmp_path):
    make_trainer(tmp_path, validation=False).run()
    before = (tmp_path / "checkpoint.pt").read_bytes()
    broken = make_trainer(tmp_path, validation=False)
    with torch.no_grad():
        broken.network.decoder_embed.weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match="lower the learning rate"):
        broken.run()
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_everything_that_is_written_is_for_everybody_who_may_read_the_folder(make_trainer, tmp_path):
    before = os.umask(0o022)
    try:
        make_trainer(tmp_path).run()
    finally:
        os.umask(before)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in written} >= {"checkpoint.pt", "model.safetensors", "config.json", "log.csv"}
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in written} == {path.name: "0o644" for path in written}


def test_states_of_others_are_refused(make_trainer, tmp_path, monkeypatch):
    make_trainer(tmp_path, validation=False).run()
    other = make_trainer(tmp_path / "elsewhere", validation=False).preset
    monkeypatch.setattr(type(other), "name", "other", raising=False)
    object.__setattr__(other, "name", "other")
    with pytest.raises(InputError, match="belongs to preset 'tiny', not 'other'"):
        make_trainer(tmp_path, resume=True)
    object.__setattr__(other, "name", "tiny")
    (tmp_path / "checkpoint.pt").write_bytes((tmp_path / "checkpoint.pt").read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        make_trainer(tmp_path, resume=True)


def test_a_full_disk_leaves_the_checkpoint_before(make_trainer, tmp_path, monkeypatch):
    from dust3r_sfm.training import checkpoint

    trainer = make_trainer(tmp_path, validation=False)
    trainer.run()
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(*_arguments, **_more):
        raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(OutputError, match="disk is full"):
        trainer._save()
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob(".*.tmp"))
