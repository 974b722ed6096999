import pytest
import torch

from dust3r_sfm.network import Network, NetworkConfig, random_network

SMALL = {
    "encoder_width": 48,
    "encoder_depth": 2,
    "encoder_heads": 3,
    "decoder_width": 32,
    "decoder_depth": 4,
    "decoder_heads": 2,
    "dpt_widths": (16, 8, 12, 16, 24, 8),
}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def linear_config() -> NetworkConfig:
    return NetworkConfig(**SMALL, head="linear")


@pytest.fixture
def linear_network(linear_config) -> Network:
    return random_network(linear_config, 0).eval()


@pytest.fixture
def dpt_network() -> Network:
    return random_network(NetworkConfig(**SMALL, head="dpt"), 0).eval()


@pytest.fixture
def mast3r_network() -> Network:
    config = NetworkConfig(
        **SMALL, head="catmlp+dpt", descriptor_size=24, descriptor_confidence_mode=("exp", 0.0, float("inf"))
    )
    return random_network(config, 0).eval()


@pytest.fixture
def images():
    """Images from a seed: images(seed, batch, height, width)."""

    def make(seed: int, batch: int, height: int, width: int) -> torch.Tensor:
        return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1

    return make
