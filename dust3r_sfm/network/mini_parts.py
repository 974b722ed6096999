"""Parts of the small network: convolutional stem, decoder block that sees matches, light map head."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, pixel_shuffle, scaled_dot_product_attention

from dust3r_sfm.network.blocks import Attention, Mlp, layer_norm
from dust3r_sfm.network.config import Mode
from dust3r_sfm.network.heads.linear import tokens_to_map
from dust3r_sfm.network.rope import RopeTable, rotate

PATCH = 16
"""Side of a token in pixels."""
DEPTH_MODE: Mode = ("exp", -math.inf, math.inf)
CONFIDENCE_MODE: Mode = ("exp", 1.0, math.inf)
_QUARTER_CHANNELS, _EIGHTH_CHANNELS = 64, 128
"""Of the maps at a quarter and an eighth of the picture's size: chosen by hand."""
_MAP_CHANNELS = 8
"""Own x/z, y/z, log z; x, y, z in the other's frame; two confidences."""
_OTHER_DEPTH = 5
"""Index of z in the other's frame."""


class Stem(nn.Module):
    """Four strided convolutions beside a linear patch embedding: edges inside a patch are not lost."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.edges = nn.Conv2d(3, 32, 3, stride=2, padding=1)
        self.quarter = nn.Conv2d(32, _QUARTER_CHANNELS, 3, stride=2, padding=1)
        self.eighth = nn.Conv2d(_QUARTER_CHANNELS, _EIGHTH_CHANNELS, 3, stride=2, padding=1)
        self.last = nn.Conv2d(_EIGHTH_CHANNELS, width, 3, stride=2, padding=1)
        self.patches = nn.Conv2d(3, width, PATCH, stride=PATCH)

    def forward(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b c4 h4 w4"], Float[Tensor, "b c8 h8 w8"]]:
        """Tokens, and the maps at a quarter and an eighth of the size."""
        quarter = gelu(self.quarter(gelu(self.edges(images))))
        eighth = gelu(self.eighth(quarter))
        return (self.last(eighth) + self.patches(images)).flatten(2).mT, quarter, eighth


class MatchedBlock(nn.Module):
    """Self-attention, cross-attention with the matches' logits added, MLP."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = layer_norm(width)
        self.attn = Attention(width, num_heads)
        self.norm2, self.norm_y = layer_norm(width), layer_norm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.trust = nn.Parameter(torch.full((num_heads, 1, 1), 5.0))
        self.proj = nn.Linear(width, width)
        self.norm3 = layer_norm(width)
        self.mlp = Mlp(width, 4 * width, width)

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        y: Float[Tensor, "b m c"],
        ropes: tuple[RopeTable, RopeTable],
        descriptors: tuple[Float[Tensor, "b n d"], Float[Tensor, "b m d"]],
    ) -> Float[Tensor, "b n c"]:
        """Tokens of image x after the block, having seen image y."""
        x = x + self.attn(self.norm1(x), ropes[0])
        query = self._heads(self.query(self.norm2(x)))
        key, value = (self._heads(part) for part in self.key_value(self.norm_y(y)).chunk(2, dim=-1))
        query, key = rotate(query, ropes[0]), rotate(key, ropes[1])
        # Appended to queries and keys, so that the attention stays one fused kernel: their product adds the logits.
        scale = query.shape[-1] ** -0.5
        seen, sought = (part[:, None].expand(-1, self.num_heads, -1, -1).to(query.dtype) for part in descriptors)
        query = torch.cat([query, seen * (self.trust / scale).to(query.dtype)], dim=-1)
        mixed = scaled_dot_product_attention(query, torch.cat([key, sought], dim=-1), value, scale=scale)
        x = x + self.proj(mixed.transpose(1, 2).flatten(2))
        out: Tensor = x + self.mlp(self.norm3(x))
        return out

    def _heads(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b k n e"]:
        return torch.unflatten(tokens, -1, (self.num_heads, -1)).transpose(1, 2)


class MiniHead(nn.Module):
    """Maps from tokens of four depths and the stem: a light form of DPT (Ranftl et al. 2021)."""

    def __init__(self, token_width: int, channels: int) -> None:
        super().__init__()
        self.tokens = nn.Linear(token_width, 2 * channels)
        self.mix16 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1)
        self.eighth = nn.Conv2d(_EIGHTH_CHANNELS, 2 * channels, 1)
        self.mix8 = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.quarter = nn.Conv2d(_QUARTER_CHANNELS, channels, 1)
        self.mix4 = nn.Conv2d(channels, channels, 3, padding=1)
        self.mix2 = nn.Conv2d(channels, channels // 2, 3, padding=1)
        self.out = nn.Conv2d(channels // 2, 4 * _MAP_CHANNELS, 3, padding=1)

    def forward(
        self,
        taps: Float[Tensor, "b n c"],
        grid: tuple[int, int],
        eighth: Float[Tensor, "b c8 h8 w8"],
        quarter: Float[Tensor, "b c4 h4 w4"],
    ) -> Float[Tensor, "b 8 h w"]:
        """Raw maps at the images' size."""
        level = tokens_to_map(self.tokens(taps), grid)
        level = level + self.mix16(gelu(level))
        level = self.mix8(gelu(_doubled(level) + self.eighth(eighth)))
        level = _doubled(level) + self.quarter(quarter)
        level = level + self.mix4(gelu(level))
        level = gelu(self.mix2(gelu(_doubled(level))))
        return pixel_shuffle(self.out(level), 2)

    def start(self) -> None:
        """Begin as a plane at depth 1 in both frames."""
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            bias = self.get_parameter("out.bias").zero_()
            bias[4 * _OTHER_DEPTH : 4 * _OTHER_DEPTH + 4] = math.log(2)  # expm1 of it is 1


def _doubled(level: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    return interpolate(level, scale_factor=2, mode="bilinear", align_corners=False)
