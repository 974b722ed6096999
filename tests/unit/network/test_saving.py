"""A written network is read back as it was."""

import json
import math

import pytest
import torch

from dust3r_sfm.network import load_network
from dust3r_sfm.network.config import NetworkConfig, config_from_keywords
from dust3r_sfm.network.saving import keywords_of, write_network
from dust3r_sfm.network.weights import random_network

SMALL = {
    "encoder_width": 48,
    "encoder_depth": 2,
    "encoder_heads": 4,
    "decoder_width": 32,
    "decoder_depth": 4,
    "decoder_heads": 4,
    "dpt_widths": (16, 8, 12, 16, 24, 8),
}
CONFIGS = {
    "linear": NetworkConfig(**SMALL, head="linear", image_size=(96, 128)),
    "dpt": NetworkConfig(**SMALL, head="dpt", mlp_ratio=3.0, rope_base=50.0),
    "descriptors": NetworkConfig(
        **SMALL, head="catmlp+dpt", descriptor_size=8, descriptor_confidence_mode=("exp", 0.0, math.inf)
    ),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_the_configuration_survives_json(config):
    keywords = json.loads(json.dumps(keywords_of(config)))
    class_name = "AsymmetricMASt3R" if config.descriptor_size else "AsymmetricCroCo3DStereo"
    assert config_from_keywords(class_name, keywords, "here") == config


def test_the_network_predicts_the_same(tmp_path):
    network = random_network(CONFIGS["linear"], seed=3).eval()
    write_network(network, tmp_path / "weights")
    again = load_network(tmp_path / "weights")
    assert again.source.report.missing == () and again.source.report.unexpected == ()
    first, second = torch.rand(2, 1, 3, 32, 48).unbind(0)
    with torch.no_grad():
        expected, found = network(first, second), again(first, second)
    torch.testing.assert_close(found.points1, expected.points1, rtol=0, atol=0)
    torch.testing.assert_close(found.confidence2, expected.confidence2, rtol=0, atol=0)


def test_every_tensor_of_a_dpt_head_is_written(tmp_path):
    network = random_network(CONFIGS["dpt"], seed=3).eval()
    write_network(network, tmp_path)
    again = load_network(tmp_path)
    assert again.source.report.missing == ()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)
