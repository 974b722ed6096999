"""Heads: from the tokens of two decoded images to dense maps."""

from dust3r_sfm.network.config import NetworkConfig
from dust3r_sfm.network.heads.descriptor import DescriptorHead
from dust3r_sfm.network.heads.dpt import DptHead
from dust3r_sfm.network.heads.linear import LinearHead

Head = LinearHead | DptHead


def make_head(config: NetworkConfig) -> Head:
    """The head that a configuration names; both views have one of their own."""
    if config.head == "linear":
        return LinearHead(config.decoder_width, config.patch_size)
    return DptHead(config) if config.head == "dpt" else DescriptorHead(config)
