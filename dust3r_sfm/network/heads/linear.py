"""The linear head: each token becomes its own patch of the map."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

NUM_CHANNELS = 4
"""Raw channels of every head: x, y, z, confidence."""


def tokens_to_map(tokens: Float[Tensor, "b n c"], grid: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    """Lay tokens out on their grid; the memory order is channels-last, which convolutions like."""
    return torch.unflatten(tokens.mT, -1, grid)


class LinearHead(nn.Module):
    """One linear layer on the last tokens (DUSt3R, Wang et al. 2024)."""

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Linear(width, NUM_CHANNELS * patch_size**2)

    def forward(
        self, layers: Sequence[Float[Tensor, "b n _"]], grid: tuple[int, int], skip: None
    ) -> Float[Tensor, "b 4 h w"]:
        """Raw maps from the tokens of each depth (encoder output first), of which only the last are used."""
        return pixel_shuffle(tokens_to_map(self.proj(layers[-1]), grid), self.patch_size)
