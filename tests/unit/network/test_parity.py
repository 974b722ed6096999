"""The numbers of the reference implementation on deterministic weights.

The recipe for the weights and the recorded arrays are in a folder beside the project (its README describes them).
"""

import hashlib
import json
import math
import os
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from dust3r_sfm.network import CompletionNetwork, Network
from dust3r_sfm.network.checkpoint import Checkpoint
from dust3r_sfm.network.completion import completion_error, patch_targets
from dust3r_sfm.network.config import NetworkConfig, config_from_keywords
from dust3r_sfm.network.heads.activations import activate_confidence, activate_points
from dust3r_sfm.network.orientation import grid_positions
from dust3r_sfm.network.weights import initialize

PARITY = Path(os.environ.get("DUST3R_SFM_REFERENCE", Path(__file__).parents[4] / "shared" / "reference")) / "parity"
CASES = {
    "linear_landscape": "linear",
    "linear_mixed": "linear",
    "linear_manyar": "linear",
    "linear_manyar_allportrait": "linear",
    "dpt_landscape": "dpt",
    "dpt_mixed": "dpt",
    "dpt_manyar": "dpt",
    "mast3r_landscape": "mast3r",
    "mast3r_manyar": "mast3r",
}
CLASSES = {"dust3r": "AsymmetricCroCo3DStereo", "mast3r": "AsymmetricMASt3R", "croco": "CroCoNet"}
OUTPUTS = {
    "points": ("pts3d", "pts3d_in_other_view"),
    "confidence": ("conf", "conf"),
    "descriptors": ("desc", "desc"),
    "descriptor_confidence": ("desc_conf", "desc_conf"),
}
GAINS = (
    (r"(^|\.)patch_embed\.proj\.weight", 0.02),
    (r"decoder_embed\.weight", 0.02),
    (r".*\.attn\.qkv\.weight", 1.5),
    (r".*\.cross_attn\.proj[qkv]\.weight", 1.5),
    (r".*\.(attn|cross_attn)\.proj\.weight|.*\.mlp\.fc2\.weight", 0.1),
    (r".*act_postprocess\.0\.1\.weight", 4.0),
    (r".*act_postprocess\.1\.1\.weight", 2.0),
    (r".*\.dpt\.head\.4\.weight", 0.4),
    (r".*act_postprocess\.[12]\.0\.weight", 5.0),
)
TOKENS, MAPS, LARGEST, BFLOAT16 = 1e-5, 2e-5, 2e-3, 2e-2

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not PARITY.is_dir(), reason=f"no recorded numbers in {PARITY}"),
]


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Zero mean, unit variance, from the name alone."""
    uniform = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).random(math.prod(shape))
    return ((2 * uniform - 1) * math.sqrt(3)).reshape(shape)


def weights(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    name = re.sub(r"scratch\.layer_rn\.(\d)\.", lambda match: f"scratch.layer{int(match[1]) + 1}_rn.", key)
    parts, values = name.split("."), draw(name, shape)
    if parts[-1] == "mask_token":
        values = 0.02 * values
    elif len(shape) == 1 and len(parts) > 1 and re.match(r"norm|.*_norm$", parts[-2]):
        values = 0.1 * values + (parts[-1] == "weight")
    elif parts[-1] == "bias":
        values = (0.005 if parts[0] in ("patch_embed", "decoder_embed") else 0.05) * values
    else:
        gain = next((gain for pattern, gain in GAINS if re.fullmatch(pattern, name)), 1.0)
        values = gain * values / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))


def read(name: str) -> dict[str, torch.Tensor]:
    with np.load(PARITY / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def config_of(name: str) -> NetworkConfig:
    config = json.loads((PARITY / "cases.json").read_text())["configs"][name]
    return config_from_keywords(CLASSES[config["model"]], config["args"], name)


@pytest.fixture(scope="module", params=sorted(set(CASES.values())))
def family(request) -> tuple[str, Network]:
    network = Network(config_of(request.param)).eval()
    fill(network)
    return request.param, network


def fill(network: torch.nn.Module) -> None:
    network.load_state_dict({key: weights(key, tuple(value.shape)) for key, value in network.state_dict().items()})


def assert_close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float, what: str) -> None:
    assert actual.shape == expected.shape, what
    error = (actual.double() - expected.double()).abs()
    assert error.mean() <= tolerance * expected.double().abs().mean(), (
        f"{what}: {error.mean() / expected.abs().mean():.2e}"
    )
    if tolerance <= MAPS:
        assert error.max() <= LARGEST * expected.abs().max(), what


def compare(network: Network, case: str, tolerance: float) -> None:
    expected = read(case)
    features = [network.encode(expected[f"in.img{view}"], expected[f"in.true_shape{view}"]) for view in (1, 2)]
    prediction = network.decode(*features)
    if tolerance <= MAPS:
        layers = network.decode_tokens(*features)
        for view in (1, 2):
            assert_close(features[view - 1].tokens, expected[f"enc{view}"], TOKENS, f"{case} enc{view}")
            for depth, tokens in enumerate(layers[view - 1][1:], 1):
                assert_close(tokens, expected[f"dec{view}_{depth}"], TOKENS, f"{case} dec{view}_{depth}")
    compared = 0
    for name, references in OUTPUTS.items():
        for view, reference in enumerate(references, 1):
            if f"out{view}.{reference}" in expected:
                value = getattr(prediction, f"{name}{view}")
                assert_close(value, expected[f"out{view}.{reference}"], tolerance, f"{case} {name}{view}")
                compared += 1
    assert compared == sum(key.startswith("out") for key in expected)


@pytest.mark.parametrize("name", ["linear", "dpt", "mast3r", "croco"])
def test_the_state_dict_has_the_reference_names_in_order(name):
    with torch.device("meta"):
        network = (CompletionNetwork if name == "croco" else Network)(config_of(name))
    keys = [[key, list(value.shape)] for key, value in network.state_dict().items()]
    assert keys == json.loads((PARITY / f"keys_{name}.json").read_text())


def test_float32_and_bfloat16(family):
    name, network = family
    for case in (case for case, config in CASES.items() if config == name):
        with torch.inference_mode():
            compare(network, case, MAPS)
            with torch.autocast("cpu", torch.bfloat16):
                compare(network, case, BFLOAT16)


def test_tokens_and_positions_before_the_encoder():
    network = Network(config_of("linear")).eval()
    fill(network)
    for case in ("linear_mixed", "linear_manyar"):
        expected = read(case)
        for view in (1, 2):
            features = network.encode(images := expected[f"in.img{view}"], expected[f"in.true_shape{view}"])
            tokens = network.embed(images, features.transposed)
            assert_close(tokens, expected[f"patch{view}"], TOKENS, case)
            positions = grid_positions(features.grid, features.transposed, images.device)
            assert torch.equal(positions.expand(len(images), -1, -1).int(), expected[f"pos{view}"])


def test_croco_completes_as_the_reference():
    network, expected = CompletionNetwork(config_of("croco")).eval(), read("croco_masked")
    fill(network)
    with torch.inference_mode():
        painted = network(expected["in.img1"], expected["in.img2"], expected["in.mask1"])
    targets = patch_targets(expected["in.img1"], 16)
    assert_close(painted, expected["pred"], MAPS, "pred")
    assert torch.equal(targets, expected["target"])
    for standardize, key in ((False, "loss_mse_plain"), (True, "loss_mse_normpix")):
        error = completion_error(painted, targets, expected["in.mask1"], standardize=standardize)
        torch.testing.assert_close(error, expected[key][0], rtol=2e-5, atol=0)


@pytest.mark.parametrize("told", [True, False])
def test_croco_initialization(told, tmp_path):
    expected = json.loads((PARITY / "croco_init.json").read_text())
    arguments = json.loads((PARITY / "cases.json").read_text())["configs"]["croco"]["args"]
    state = {
        key: (
            weights(key, tuple(shape)).double() * torch.from_numpy(1 + 0.1 * draw(f"croco:{key}", tuple(shape)))
        ).float()
        for key, shape in expected["checkpoint_keys"]
    }
    network = Network(config_of("linear")).eval()
    fill(network)
    checkpoint = Checkpoint(
        path=tmp_path / "croco.pth", class_name="CroCoNet", keywords=arguments if told else None, state=state
    )
    report = initialize(network, checkpoint)
    assert sorted(report.loaded) == sorted(expected["loaded_into"])
    assert list(report.missing) == expected["reported_missing"]
    assert list(report.unexpected) == expected["reported_unexpected"]
    hashes = {
        key: hashlib.sha256(value.numpy().tobytes()).hexdigest()[:16] for key, value in network.state_dict().items()
    }
    assert hashes == expected["value_sha256_16"]
    with torch.inference_mode():
        compare(network, "croco_init", MAPS)


def test_activations():
    expected = read("geometry_expected")
    raw, unbounded = expected["post.raw"], (-math.inf, math.inf)
    for kind in ("exp", "linear", "square"):
        assert_close(activate_points(raw[..., :3], (kind, *unbounded)), expected[f"post.depth.{kind}"], 1e-6, kind)
    for key, mode in (
        ("exp1", ("exp", 1.0, math.inf)),
        ("exp0", ("exp", 0.0, math.inf)),
        ("sigmoid", ("sigmoid", 0.0, 1.0)),
    ):
        assert_close(activate_confidence(raw[..., 3], mode), expected[f"post.conf.{key}"], 1e-6, key)
