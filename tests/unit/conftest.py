"""A checkpoint of a tiny random network, for what needs a network and no trained one."""

import argparse
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .pth of DUSt3R's form with a linear head; every predictor of dust3r-* loads it.

    Its points lie in front of the camera and spread as pixels do, though only within each patch.
    """
    import torch

    from dust3r_sfm.network import NetworkConfig, random_network

    torch.set_num_threads(1)
    config = NetworkConfig(
        encoder_width=48,
        encoder_depth=2,
        encoder_heads=3,
        decoder_width=32,
        decoder_depth=2,
        decoder_heads=2,
        head="linear",
    )
    call = (
        "AsymmetricCroCo3DStereo(pos_embed='RoPE100', img_size=(64, 64), enc_embed_dim=48, enc_depth=2, "
        "enc_num_heads=3, dec_embed_dim=32, dec_depth=2, dec_num_heads=2, depth_mode=('exp', -inf, inf), "
        "conf_mode=('exp', 1, inf))"
    )
    network = random_network(config, 0)
    offsets = torch.linspace(-0.05, 0.05, 16)
    with torch.no_grad():
        for head in (network.downstream_head1, network.downstream_head2):
            head.proj.weight.mul_(0.02)
            bias = head.proj.bias.view(4, 16, 16)
            bias[0], bias[1], bias[2], bias[3] = offsets, offsets[:, None], 1.5, 0.5
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save({"args": argparse.Namespace(model=call), "model": network.state_dict()}, path)
    return path
