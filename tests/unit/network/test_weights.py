import argparse
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from dust3r_sfm.errors import WeightsError
from dust3r_sfm.network import (
    KNOWN_WEIGHTS,
    CompletionNetwork,
    Network,
    NetworkConfig,
    load_completion,
    load_network,
    random_network,
)

KEYWORDS = {
    "pos_embed": "RoPE100",
    "img_size": (64, 64),
    "enc_embed_dim": 48,
    "enc_depth": 2,
    "enc_num_heads": 3,
    "dec_embed_dim": 32,
    "dec_depth": 4,
    "dec_num_heads": 2,
    "dpt_widths": (16, 8, 12, 16, 24, 8),
}
BACKBONE = ", ".join(f"{name}={value!r}" for name, value in KEYWORDS.items())
DUST3R = (
    f"AsymmetricCroCo3DStereo({BACKBONE}, depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), head_type='%s')"
)


def save_pth(path: Path, state: dict, call: str = DUST3R % "linear", **more: object) -> Path:
    torch.save({"args": argparse.Namespace(model=call, lr=1e-4), "model": state, **more}, path)
    return path


def save_folder(path: Path, state: dict, **keywords: object) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({**KEYWORDS, **keywords}))
    save_file({name: value.contiguous() for name, value in state.items()}, path / "model.safetensors")
    return path


def with_numbers(network: Network) -> Network:
    """Start values leave biases and scales at 0 and 1: give every parameter its own numbers."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return network


def assert_equal(one: Network, other: Network) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def assert_one_sentence(error: pytest.ExceptionInfo[WeightsError]) -> None:
    text = str(error.value)
    assert "\n" not in text and text.endswith(".") and len(text) < 600


@pytest.fixture
def network(linear_network) -> Network:
    return with_numbers(linear_network)


@pytest.fixture
def dpt(dpt_network) -> Network:
    return with_numbers(random_network(dpt_network.config, 1))


def test_a_pth_comes_back_whole(tmp_path, network):
    path = save_pth(tmp_path / "dust3r.pth", network.state_dict(), epoch=3, optimizer={"state": {}})
    loaded = load_network(path)
    assert_equal(network, loaded)
    assert loaded.config.head == "linear"
    assert not loaded.training and not any(parameter.requires_grad for parameter in loaded.parameters())
    assert loaded.source.path == path and len(loaded.source.sha256) == 64
    assert loaded.source.report.missing == () and loaded.source.report.unexpected == ()
    assert "unknown" in loaded.source.licence


def test_old_style_pth_and_half_precision(tmp_path, network):
    state = {name: value.half() for name, value in network.state_dict().items()}
    path = tmp_path / "old.pth"
    torch.save(
        {"args": argparse.Namespace(model=DUST3R % "linear"), "model": state},
        path,
        _use_new_zipfile_serialization=False,
    )
    loaded = load_network(path)
    assert loaded.enc_norm.weight.dtype == torch.float32
    torch.testing.assert_close(loaded.dec_norm.bias, network.dec_norm.bias, atol=1e-4, rtol=1e-2)


def test_a_hub_folder_comes_back_whole(tmp_path, network):
    # JSON writers put infinities as bare tokens, or between quotes.
    folder = save_folder(
        tmp_path / "hub",
        network.state_dict(),
        depth_mode=["exp", -float("inf"), float("inf")],
        conf_mode=["exp", 1, "inf"],
    )
    assert_equal(network, load_network(folder))
    assert_equal(network, load_network(folder / "model.safetensors"))
    assert_equal(network, load_network(str(folder)))


@pytest.mark.parametrize("left_out", ["nothing", "_rn.weight", ".layer_rn."])
def test_either_spelling_of_the_doubled_names(tmp_path, dpt, left_out):
    state = {
        name: value.clone()
        for name, value in dpt.state_dict().items()
        if left_out not in name and "refinenet4.resConfUnit1" not in name
    }
    assert len(dpt.state_dict()) - len(state) == (8 if left_out == "nothing" else 16)
    if left_out == ".layer_rn.":
        source = save_folder(tmp_path / "folder", state, head_type="dpt")
    else:
        source = save_pth(tmp_path / "a.pth", state, DUST3R % "dpt")
    loaded = load_network(source)
    for name, value in state.items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert len(loaded.source.report.missing) == 8


def test_missing_and_unknown_names_are_listed(tmp_path, network):
    state = dict(network.state_dict())
    state["wings.left"] = state.pop("enc_norm.weight")
    with pytest.raises(WeightsError, match=r"1 missing \(enc_norm.weight\) and 1 unknown \(wings.left\)") as caught:
        load_network(save_pth(tmp_path / "a.pth", state))
    assert_one_sentence(caught)
    with pytest.raises(WeightsError, match=r"missing \(.* and \d+ more\)"):
        load_network(save_pth(tmp_path / "b.pth", {"enc_norm.weight": network.enc_norm.weight.data}))


def test_another_shape_is_named(tmp_path, network):
    state = {**network.state_dict(), "dec_norm.weight": torch.ones(33)}
    with pytest.raises(WeightsError, match=r"dec_norm.weight is \(33,\)"):
        load_network(save_pth(tmp_path / "a.pth", state))
    with pytest.raises(WeightsError, match="of another architecture"):
        load_network(save_pth(tmp_path / "b.pth", {**state, "dec_norm.weight": torch.ones(32, dtype=torch.int64)}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_named(tmp_path, network, value):
    network.enc_blocks[1].mlp.fc1.bias.data[3] = value
    with pytest.raises(WeightsError, match=r"enc_blocks.1.mlp.fc1.bias"):
        load_network(save_pth(tmp_path / "a.pth", network.state_dict()))


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("place", ["args", "model", "extra", "whole"])
def test_a_payload_is_refused_and_not_run(tmp_path, network, place):
    marker, path = tmp_path / "marker", tmp_path / "evil.pth"
    content = {"args": argparse.Namespace(model=DUST3R % "linear"), "model": dict(network.state_dict())}
    if place == "args":
        content["args"].model = Payload(marker)
    elif place == "model":
        content["model"]["x"] = Payload(marker)
    elif place == "extra":
        content["extra"] = Payload(marker)
    if place == "whole":
        path.write_bytes(pickle.dumps(Payload(marker), protocol=2))
    else:
        torch.save(content, path)
    with pytest.raises(
        WeightsError, match=r"evil.pth was refused and nothing in it was run|no PyTorch checkpoint"
    ) as caught:
        load_network(path)
    assert_one_sentence(caught)
    assert not marker.exists()
    # The payload is a real one.
    torch.load(path, weights_only=False) if place != "whole" else pickle.loads(path.read_bytes())
    assert marker.exists()


def test_a_constructor_string_is_not_evaluated(tmp_path, network):
    marker = tmp_path / "marker"
    call = f"AsymmetricCroCo3DStereo({BACKBONE}, freeze=__import__('pathlib').Path({str(marker)!r}).touch())"
    with pytest.raises(WeightsError, match="not evaluated"):
        load_network(save_pth(tmp_path / "a.pth", network.state_dict(), call))
    assert not marker.exists()


def foreign_files(folder: Path, whole: Path) -> dict[str, Path]:
    content = whole.read_bytes()
    files = {
        name: folder / f"{name}.pth"
        for name in ("truncated", "cut", "empty", "zip", "image", "text", "tensor", "plain")
    }
    files["truncated"].write_bytes(content[: len(content) // 2])
    files["cut"].write_bytes(content[:-10])
    files["empty"].touch()
    with zipfile.ZipFile(files["zip"], "w") as archive:
        archive.writestr("holiday.txt", "sun")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(files["image"], format="png")
    files["text"].write_text("not a checkpoint")
    torch.save(torch.zeros(3), files["tensor"])
    torch.save({"layer.weight": torch.zeros(3)}, files["plain"])
    for name, value in (("resnet", {"model": {"conv1.weight": torch.zeros(3)}}), ("numbers", {"model": {"a": 1}})):
        files[name] = folder / f"{name}.pth"
        torch.save(value, files[name])
    files["folder"] = folder / "folder"
    files["folder"].mkdir()
    return files


def test_foreign_and_damaged_files_each_get_a_sentence(tmp_path, network):
    whole = save_pth(tmp_path / "whole.pth", network.state_dict())
    for path in foreign_files(tmp_path, whole).values():
        with pytest.raises(WeightsError, match=path.name) as caught:
            load_network(path)
        assert_one_sentence(caught)


def test_damaged_hub_folders_each_get_a_sentence(tmp_path, network):
    folder = save_folder(tmp_path / "hub", network.state_dict())
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole = weights.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:4], b"", b"\xff" * 64):
        weights.write_bytes(content)
        with pytest.raises(WeightsError, match="damaged or not a safetensors file") as caught:
            load_network(folder)
        assert_one_sentence(caught)
    weights.write_bytes(whole)
    for text, words in (("{", "not JSON"), ("[]", "no table"), ('{"wings": 2}', "wings"), ("\xff", "not JSON")):
        config.write_text(text, encoding="latin-1")
        with pytest.raises(WeightsError, match=words):
            load_network(folder)
    config.unlink()
    with pytest.raises(WeightsError, match=r"has no config.json"):
        load_network(folder)


def test_a_missing_file_lists_the_known_names(tmp_path):
    with pytest.raises(WeightsError, match="dust3r-512-dpt") as caught:
        load_network(tmp_path / "nothing.pth")
    assert_one_sentence(caught)
    assert all(known.licence and known.paper and known.url.startswith("https") for known in KNOWN_WEIGHTS.values())


@pytest.fixture
def croco(linear_config) -> CompletionNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = CompletionNetwork(linear_config)
        network.initialize()
    return with_numbers(network)


@pytest.mark.parametrize("told", ["croco_kwargs", "args", "nothing"])
def test_croco_starts_both_decoders_and_leaves_the_heads_random(tmp_path, croco, told, linear_config):
    path = tmp_path / "CroCo_V2_small.pth"
    content = {"model": croco.state_dict()}
    if told == "croco_kwargs":
        content["croco_kwargs"] = KEYWORDS
    elif told == "args":
        content["args"] = argparse.Namespace(model=f"CroCoNet({BACKBONE})")
    torch.save(content, path)
    network = load_network(path, linear_config)
    assert all(parameter.requires_grad for parameter in network.parameters())
    state = network.state_dict()
    for name, value in croco.state_dict().items():
        if name.startswith("prediction_head"):
            continue
        assert torch.equal(state[name], value)
        assert torch.equal(state[name.replace("dec_blocks.", "dec_blocks2.")], value)
    report = network.source.report
    assert set(report.unexpected) == {"prediction_head.weight", "prediction_head.bias"}
    assert report.missing and all(name.startswith("downstream_head") for name in report.missing)
    assert "NC" in network.source.licence
    if told == "nothing":
        with pytest.raises(WeightsError, match="pass the config"):
            load_network(path)
    else:
        assert load_network(path).config.head == "linear"
        loaded = load_completion(path)
        assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in croco.state_dict().items())


def test_a_linear_network_starts_a_dpt_one(tmp_path, network, dpt):
    path = save_pth(tmp_path / "a.pth", network.state_dict())
    started = load_network(path, dpt.config, seed=2)
    assert torch.equal(started.dec_blocks2[3].norm_y.bias, network.dec_blocks2[3].norm_y.bias)
    assert torch.equal(
        started.downstream_head2.dpt.head[0].weight, random_network(dpt.config, 2).downstream_head2.dpt.head[0].weight
    )
    wider = NetworkConfig(**{**vars(dpt.config), "encoder_heads": 2})
    with pytest.raises(WeightsError, match="encoder_heads 3 where the network has 2"):
        load_network(path, wider)
    with pytest.raises(WeightsError, match="no CroCo"):
        load_completion(path)
