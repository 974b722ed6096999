"""The part that CroCo, DUSt3R and MASt3R share: an image encoder and a decoder that looks at a second image."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dust3r_sfm.network.blocks import DecoderBlock, EncoderBlock, layer_norm
from dust3r_sfm.network.config import NetworkConfig
from dust3r_sfm.network.patch_embed import PatchEmbed
from dust3r_sfm.network.precision import in_full_precision
from dust3r_sfm.network.rope import RopeTable, rope_table


class Backbone(nn.Module):
    """ViT encoder and cross-attending decoder; parameter names are those of the published files."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        # CroCo's stand-in for hidden patches; DUSt3R and MASt3R files carry it without using it.
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.decoder_width))
        self.patch_embed = PatchEmbed(config.patch_size, config.encoder_width)
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(config.encoder_width, config.encoder_heads, config.mlp_ratio)
            for _ in range(config.encoder_depth)
        )
        self.enc_norm = layer_norm(config.encoder_width)
        self.decoder_embed = nn.Linear(config.encoder_width, config.decoder_width)
        self.dec_blocks = self.make_decoder()
        self.dec_norm = layer_norm(config.decoder_width)

    def make_decoder(self) -> nn.ModuleList:
        """A decoder of the configuration's size."""
        config = self.config
        return nn.ModuleList(
            DecoderBlock(config.decoder_width, config.decoder_heads, config.mlp_ratio)
            for _ in range(config.decoder_depth)
        )

    def embed(self, images: Float[Tensor, "b 3 h w"], transposed: Bool[Tensor, " b"]) -> Float[Tensor, "b n c"]:
        """Patch tokens before the first encoder block."""
        tokens: Tensor = self.patch_embed(images, transposed)
        return tokens

    def encode_tokens(self, tokens: Float[Tensor, "b n c"], positions: Int[Tensor, "_ n 2"]) -> Float[Tensor, "b n c"]:
        """Patch tokens through the encoder and its last normalization."""
        config = self.config
        rope = rope_table(positions, config.encoder_width // config.encoder_heads, config.rope_base)
        for block in self.enc_blocks:
            tokens = block(tokens, rope)
        out: Tensor = self.enc_norm(tokens)
        return out

    def project(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n d"]:
        """Encoder output in the decoder's width."""
        return in_full_precision(self.decoder_embed, tokens)

    def decoder_rope(self, positions: Int[Tensor, "_ n 2"]) -> RopeTable:
        """Rotation of the decoder's heads at these positions."""
        config = self.config
        return rope_table(positions, config.decoder_width // config.decoder_heads, config.rope_base)

    def initialize(self) -> None:
        """Random weights as CroCo and DUSt3R start: Xavier for linear layers and the patch filter.

        Draws from PyTorch's global generator; `weights.random_network` seeds and restores it.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embed.proj.weight.view(self.config.encoder_width, -1))
        nn.init.normal_(self.mask_token, std=0.02)
