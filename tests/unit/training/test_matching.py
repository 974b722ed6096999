"""MASt3R's loss: which pixels correspond, and a training of its preset."""

import csv
import json
from dataclasses import replace

import pytest
import torch

from dust3r_sfm.cli import main
from dust3r_sfm.errors import TrainingError
from dust3r_sfm.network import load_network
from dust3r_sfm.network.weights import random_network
from dust3r_sfm.training import presets
from dust3r_sfm.training.batch import collate
from dust3r_sfm.training.matching_loss import MatchingLoss, correspondences
from dust3r_sfm.training.objective import SymmetricForward, predict

SIZE = (96, 64)


@pytest.fixture
def batch(make_view):
    return collate([(make_view(0.0, *SIZE), make_view(0.3, *SIZE))])


@pytest.fixture
def config(tiny_preset):
    descriptors = {"descriptor_size": 8, "descriptor_confidence_mode": ("exp", 0.0, float("inf"))}
    return replace(tiny_preset.config, head="catmlp+dpt", dpt_widths=(16, 8, 12, 16, 24, 8), **descriptors)


def test_corresponding_pixels_show_the_same_point(batch):
    first, second, valid = correspondences(batch.target, 500)
    assert first.shape == second.shape == valid.shape == (2, 500)
    assert valid.float().mean() > 0.6
    for row in range(2):
        points1, points2 = (points[row].flatten(0, 1) for points in (batch.target.points1, batch.target.points2))
        kept = valid[row]
        apart = (points1[first[row]] - points2[second[row]]).norm(dim=-1)[kept]
        assert (apart < 1.2 / 96 * points1[first[row]].norm(dim=-1)[kept]).all()
        # No pixel of view 2 that is nearer was passed over, and none is taken twice.
        nearest = torch.cdist(points1[first[row]][kept].double(), points2.double()).min(dim=1).values.float()
        torch.testing.assert_close(apart, nearest, atol=1e-5, rtol=0)
        assert len(second[row][kept].unique()) == int(kept.sum())


def test_the_same_truth_gives_the_same_correspondences(batch):
    for one, other in zip(correspondences(batch.target, 300), correspondences(batch.target, 300), strict=True):
        assert torch.equal(one, other)


def test_unknown_points_and_other_places_correspond_to_nothing(batch):
    nothing = torch.zeros_like(batch.target.valid2)
    holes = replace(batch.target, points2=torch.full_like(batch.target.points2, torch.nan), valid2=nothing)
    assert not correspondences(holes, 100)[2].any()
    assert not correspondences(replace(batch.target, valid1=torch.zeros_like(batch.target.valid1)), 100)[2].any()
    elsewhere = replace(batch.target, points2=batch.target.points2 + 100)
    assert not correspondences(elsewhere, 100)[2].any()


def test_a_small_view_is_taken_whole(batch):
    first, _, valid = correspondences(batch.target, 10**6)
    assert first.shape == (2, SIZE[0] * SIZE[1])
    assert valid.any()


def test_descriptors_are_learned(batch, config):
    network = random_network(config, seed=0).requires_grad_(True).train()
    forward, criterion = SymmetricForward(network), MatchingLoss(weight=1.0, num_correspondences=256)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    history = []
    for _ in range(12):
        loss, details = criterion(predict(forward, batch), batch.target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append(details)
    assert history[-1]["matching"] < history[0]["matching"] / 10
    assert history[0]["matched"] < 0.1 < 0.9 < history[-1]["matched"]


def test_a_network_without_descriptors_is_refused(batch, tiny_preset):
    forward = SymmetricForward(random_network(tiny_preset.config, seed=0))
    with pytest.raises(TrainingError, match="mast3r-512"):
        MatchingLoss()(predict(forward, batch), batch.target)


def test_the_command_trains_the_preset(folder, tmp_path, tiny_preset, config, monkeypatch):
    full = presets.PRESETS["mast3r-512"]
    assert full.config.descriptor_size == 24
    small = {field: getattr(tiny_preset, field) for field in ("sizes", "schedule", "batch_size", "pairs_per_epoch")}
    monkeypatch.setitem(presets.PRESETS, "mast3r-512", replace(full, config=config, start="", **small))
    tables = "".join(
        f"[[{name}]]\nkind = 'folder'\nimages = 'images'\ndepths = 'depth'\ncameras = 'poses.json'\n"
        f"pairs_per_epoch = {count}\n"
        for name, count in (("train", 8), ("validation", 2))
    )
    (folder / "data.toml").write_text(tables)
    command = ["train", str(tmp_path / "out"), "--preset", "mast3r-512", "--data", str(folder / "data.toml")]
    assert main([*command, "--device", "cpu", "--num-workers", "0", "--epochs", "1"]) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "log.csv").open()))
    assert [row["kind"] for row in rows] == ["train", "validation"]
    assert json.loads((tmp_path / "out" / "training.json").read_text())["preset"] == "mast3r-512"
    assert load_network(tmp_path / "out" / "best").config == config
