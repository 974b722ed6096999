"""The small network learns: its loss, its preset, and its run from the synthetic world to a predictor."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from dust3r_sfm.cli import main
from dust3r_sfm.network.mini import MiniConfig, MiniPrediction, random_mini
from dust3r_sfm.network.mini_file import read_mini
from dust3r_sfm.training import presets
from dust3r_sfm.training.datasets.world import World
from dust3r_sfm.training.loop import LoopOptions, Trainer
from dust3r_sfm.training.losses import Target
from dust3r_sfm.training.mini_loss import MiniLoss, token_partners
from dust3r_sfm.training.objective import SymmetricForward, predict
from dust3r_sfm.training.schedule import Schedule, parameter_groups

SMALL = MiniConfig(
    encoder_width=64,
    encoder_depth=2,
    decoder_width=64,
    decoder_depth=2,
    head_channels=16,
    descriptor_size=16,
    head_width=32,
)


@pytest.fixture
def preset(monkeypatch):
    made = replace(
        presets.PRESETS["mini"],
        config=SMALL,
        sizes=((48, 32),),
        schedule=Schedule(peak=1e-3, floor=1e-5, warmup=0.1, epochs=1.0),
        batch_size=2,
        pairs_per_epoch=8,
        validation_pairs=2,
    )
    monkeypatch.setitem(presets.PRESETS, "mini", made)
    return made


def shifted_walls(tokens: int):
    """A wall at depth 2 seen by two cameras side by side: view 2 shows what is `tokens` patches to the right."""
    column, row = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(32) + 0.5, indexing="xy")
    points = torch.stack([column / 16, row / 16, torch.full_like(column, 2.0)], dim=-1)[None]
    valid = torch.ones(1, 32, 64, dtype=torch.bool)
    right = points + torch.tensor([float(tokens), 0, 0])
    return Target(points1=points, points2=right, valid1=valid, valid2=valid)


def test_tokens_find_their_partners():
    partner, known = token_partners(shifted_walls(1), 8)
    assert known.tolist() == [[False, True, True, True] * 2]
    assert partner[known].tolist() == [0, 1, 2, 4, 5, 6]
    nothing = replace(shifted_walls(1), valid2=torch.zeros(1, 32, 64, dtype=torch.bool))
    assert not token_partners(nothing, 8)[1].any()


def test_the_loss_falls_with_better_maps_and_matches():
    target = shifted_walls(1)
    scale = torch.cat([target.points1, target.points2]).norm(dim=-1).mean()

    def loss(noise, sharpness):
        matches = torch.zeros(1, 8, 8)
        partner, known = token_partners(target, 8)
        matches[0, torch.arange(8)[known[0]], partner[known]] = sharpness
        prediction = MiniPrediction(
            points1=target.points1 / scale + noise,
            points2=target.points2 / scale - noise,
            confidence1=torch.full((1, 32, 64), 1.5),
            confidence2=torch.full((1, 32, 64), 1.5),
            matches=matches,
        )
        return MiniLoss()(prediction, target)

    exact, details = loss(0.0, 20.0)
    assert details["points1"] < 1e-6 and details["matched"] == 1
    assert exact < loss(0.1, 20.0)[0] and exact < loss(0.0, 0.0)[0]
    # An unsure pixel pays less for an error, a sure one less for none.
    assert exact == pytest.approx(-2 * np.log(1.5), abs=1e-4)


def test_sky_makes_unsure():
    target = shifted_walls(0)
    sky = torch.ones(1, 32, 64, dtype=torch.bool)
    target = replace(target, valid1=~sky, valid2=~sky, sky1=sky, sky2=sky)
    confidence = torch.full((1, 32, 64), 2.0, requires_grad=True)
    zeros = torch.zeros(1, 32, 64, 3)
    prediction = MiniPrediction(
        points1=zeros, points2=zeros, confidence1=confidence, confidence2=confidence, matches=torch.zeros(1, 8, 8)
    )
    MiniLoss()(prediction, target)[0].backward()
    assert (confidence.grad > 0).all()


def test_a_few_steps_learn_a_batch():
    batch = World(sizes=((48, 32),), batch_size=3, pairs_per_epoch=3, seed=2).batch(0, 0)
    network = random_mini(SMALL, seed=0)
    forward, criterion = SymmetricForward(network), MiniLoss()
    optimizer = torch.optim.AdamW(parameter_groups(network, 0.0), lr=2e-3)
    history = []
    for _ in range(40):
        loss, details = criterion(predict(forward, batch), batch.target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(details)
    assert history[-1]["points1"] < 0.6 * history[0]["points1"]
    assert history[-1]["points2"] < 0.6 * history[0]["points2"]
    assert history[-1]["matched"] > history[0]["matched"] + 0.2


def test_a_resumed_run_on_the_world_gives_the_same_bits(preset, tmp_path):
    preset = replace(preset, schedule=replace(preset.schedule, epochs=2.0), pairs_per_epoch=4)
    world = World(sizes=preset.sizes, batch_size=2, pairs_per_epoch=4, seed=1)

    def trainer(out, **more):
        options = LoopOptions(num_workers=1, log_every=1, save_every=1, **more)
        cpu = torch.device("cpu")
        return Trainer(preset, random_mini(SMALL, seed=1), (world, None), out, device=cpu, options=options)

    whole = trainer(tmp_path / "whole")
    whole.run()
    killed, count = trainer(tmp_path / "killed"), [0]
    learn = killed._learn

    def dies(*arguments, **more):
        count[0] += 1
        if count[0] == 4:
            raise KeyboardInterrupt
        return learn(*arguments, **more)

    killed._learn = dies
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    resumed = trainer(tmp_path / "killed", resume=True)
    assert (resumed.position.epoch, resumed.position.step) == (1, 1)
    resumed.run()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value), name


def test_the_command_trains_and_its_weights_predict(preset, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["train", str(out), "--preset", "mini", "--device", "cpu", "--num-workers", "1"]
    assert main(command) == 0
    assert read_mini(out / "best").config == SMALL
    assert main([*command, "--resume"]) == 0
    assert main([*command, "--textures", str(tmp_path), "--resume"]) == 1
    assert "textures" in capsys.readouterr().err
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    rng = np.random.default_rng(0)
    for k in range(2):
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(photographs / f"{k}.png")
    textured = [*command, "--textures", str(photographs)]
    textured[1] = str(tmp_path / "textured")
    assert main(textured) == 0


def test_a_start_of_other_sizes_is_refused(preset, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    command = ["train", str(out), "--preset", "mini", "--device", "cpu", "--num-workers", "0"]
    assert main(command) == 0
    monkeypatch.setitem(presets.PRESETS, "mini", replace(preset, config=replace(SMALL, decoder_depth=3)))
    command[1] = str(tmp_path / "second")
    assert main([*command, "--start", str(out / "weights")]) == 1
    assert "other sizes" in capsys.readouterr().err
