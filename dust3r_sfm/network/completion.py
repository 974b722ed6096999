"""CroCo's pre-training network: complete a mostly hidden image by looking at a second one (Weinzaepfel et al. 2023)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dust3r_sfm.errors import InputError
from dust3r_sfm.network.backbone import Backbone
from dust3r_sfm.network.config import NetworkConfig
from dust3r_sfm.network.orientation import grid_positions, stored_transposed


class CompletionNetwork(Backbone):
    """The backbone with a head that paints hidden patches."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.prediction_head = nn.Linear(config.decoder_width, 3 * config.patch_size**2)

    def forward(
        self,
        images1: Float[Tensor, "b 3 h w"],
        images2: Float[Tensor, "b 3 h2 w2"],
        hidden1: Bool[Tensor, "b n"],
    ) -> Float[Tensor, "b n p"]:
        """Paint image 1.

        Args:
            images1, images2: RGB in [-1, 1], or standardized as the weights were trained.
            hidden1: True for the patches of image 1 that the network does not see, the same number in each image.

        Returns:
            the patches of image 1, in the layout of `patch_targets`.

        Raises:
            InputError: masks of different counts, or sides that are no multiples of the patch.
        """
        positions1, positions2 = self._positions(images1), self._positions(images2)
        counts = (~hidden1).sum(1)
        if (counts != counts[0]).any():
            raise InputError("The images of a batch must hide the same number of patches.")
        upright = torch.zeros(len(images1), dtype=torch.bool)
        tokens1, tokens2 = self.embed(images1, upright), self.embed(images2, upright)
        batch = len(tokens1)
        seen = torch.unflatten(tokens1[~hidden1], 0, (batch, -1))
        seen_positions = torch.unflatten(positions1.expand(batch, -1, -1)[~hidden1], 0, (batch, -1))
        seen = self.project(self.encode_tokens(seen, seen_positions))
        other = self.project(self.encode_tokens(tokens2, positions2))
        full = self.mask_token.to(seen.dtype).repeat(*hidden1.shape, 1)
        full[~hidden1] = seen.flatten(0, 1)
        rope1, rope2 = self.decoder_rope(positions1), self.decoder_rope(positions2)
        for block in self.dec_blocks:
            full = block(full, other, rope1, rope2)
        out: Tensor = self.prediction_head(self.dec_norm(full))
        return out

    def _positions(self, images: Tensor) -> Tensor:
        upright = stored_transposed(images, None, self.config.patch_size)
        grid = (images.shape[-2] // self.config.patch_size, images.shape[-1] // self.config.patch_size)
        return grid_positions(grid, upright, images.device)


def patch_targets(images: Float[Tensor, "b 3 h w"], patch_size: int) -> Float[Tensor, "b n p"]:
    """The pixels of each patch in (row, column, channel) order."""
    patches = images.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)
    return patches.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)


def completion_error(
    patches: Float[Tensor, "b n p"], targets: Float[Tensor, "b n p"], hidden: Bool[Tensor, "b n"], *, standardize: bool
) -> Float[Tensor, ""]:
    """Mean squared error over the hidden patches, optionally with each target patch brought to mean 0, variance 1."""
    if standardize:
        variance, mean = torch.var_mean(targets, dim=-1, keepdim=True)
        targets = (targets - mean) / (variance + 1e-6).sqrt()
    return (patches - targets).square().mean(-1)[hidden].mean()
