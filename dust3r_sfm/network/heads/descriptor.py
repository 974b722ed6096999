"""MASt3R's head: DPT maps, and local descriptors from each token's own patch (Leroy et al. 2024)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pixel_shuffle

from dust3r_sfm.network.blocks import Mlp
from dust3r_sfm.network.config import NetworkConfig
from dust3r_sfm.network.heads.dpt import DptHead
from dust3r_sfm.network.heads.linear import tokens_to_map

_EXPANSION = 4
"""Hidden width of the MLP over its width: Leroy et al. 2024, section 3.2."""


class DescriptorHead(DptHead):
    """The DPT head, with descriptor channels appended to its four."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.patch_size = config.patch_size
        width = config.encoder_width + config.decoder_width
        num_channels = config.descriptor_size + (config.descriptor_confidence_mode is not None)
        self.head_local_features = Mlp(width, _EXPANSION * width, num_channels * config.patch_size**2)

    def forward(
        self, layers: Sequence[Float[Tensor, "b n _"]], grid: tuple[int, int], skip: Float[Tensor, "b f _ _"]
    ) -> Float[Tensor, "b c h w"]:
        """Raw maps: 4 channels of DPT, then the descriptor and its confidence."""
        local = self.head_local_features(torch.cat((layers[0], layers[-1]), dim=-1))
        descriptors = pixel_shuffle(tokens_to_map(local, grid), self.patch_size)
        return torch.cat((super().forward(layers, grid, skip), descriptors), dim=1)
