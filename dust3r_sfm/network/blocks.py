"""Transformer blocks: pre-norm attention and MLP, as in CroCo v2 (Weinzaepfel et al. 2023)."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from dust3r_sfm.network.rope import RopeTable, rotate

Tokens = Float[Tensor, "b n c"]
_NORM_EPS = 1e-6
"""Added to the variance: Wang et al. 2024, released code."""


def layer_norm(width: int) -> nn.LayerNorm:
    """Layer normalization with the epsilon of the published weights."""
    return nn.LayerNorm(width, eps=_NORM_EPS)


class Attention(nn.Module):
    """Self-attention with rotary positions."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tokens, rope: RopeTable) -> Tokens:
        """Attend from each token to all of `x`."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(rotate(query, rope), rotate(key, rope), value)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class CrossAttention(nn.Module):
    """Attention from the tokens of one image to those of another, each with its own rotary positions."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.projq = nn.Linear(width, width)
        self.projk = nn.Linear(width, width)
        self.projv = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "b n c"], y: Float[Tensor, "b m c"], rope_x: RopeTable, rope_y: RopeTable
    ) -> Float[Tensor, "b n c"]:
        """Attend from each token of `x` to all of `y`."""
        query, key, value = (
            tokens.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for tokens in (self.projq(x), self.projk(y), self.projv(y))
        )
        mixed = scaled_dot_product_attention(rotate(query, rope_x), rotate(key, rope_y), value)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two linear layers with the exact (erf) GELU between them."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, out)

    def forward(self, x: Float[Tensor, "b n _"]) -> Float[Tensor, "b n _"]:
        """Transform each token alone."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class EncoderBlock(nn.Module):
    """Self-attention, then MLP, each on the normalized tokens and added to them."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = layer_norm(width)
        self.attn = Attention(width, num_heads)
        self.norm2 = layer_norm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio), width)

    def forward(self, x: Tokens, rope: RopeTable) -> Tokens:
        """Tokens after the block."""
        x = x + self.attn(self.norm1(x), rope)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class DecoderBlock(nn.Module):
    """Self-attention, cross-attention to the other image, MLP.

    The block runs in two steps, because the first looks at one image only: for the first block of a decoder its result
    holds for every pair the image takes part in.
    """

    def __init__(self, width: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = layer_norm(width)
        self.attn = Attention(width, num_heads)
        self.cross_attn = CrossAttention(width, num_heads)
        self.norm2 = layer_norm(width)
        self.norm3 = layer_norm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio), width)
        self.norm_y = layer_norm(width)

    def look_inside(self, x: Tokens, rope: RopeTable) -> Tokens:
        """The self-attention step."""
        out: Tensor = x + self.attn(self.norm1(x), rope)
        return out

    def look_across(
        self, x: Float[Tensor, "b n c"], y: Float[Tensor, "b m c"], rope_x: RopeTable, rope_y: RopeTable
    ) -> Float[Tensor, "b n c"]:
        """The cross-attention and MLP steps on tokens that have looked inside; `y` is not changed."""
        x = x + self.cross_attn(self.norm2(x), self.norm_y(y), rope_x, rope_y)
        out: Tensor = x + self.mlp(self.norm3(x))
        return out

    def forward(
        self, x: Float[Tensor, "b n c"], y: Float[Tensor, "b m c"], rope_x: RopeTable, rope_y: RopeTable
    ) -> Float[Tensor, "b n c"]:
        """Tokens of image x after the block, having seen image y."""
        return self.look_across(self.look_inside(x, rope_x), y, rope_x, rope_y)
