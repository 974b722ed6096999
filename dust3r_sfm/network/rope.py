"""Rotary position embedding of 2-D token grids (RoFormer, Su et al. 2021; the axial form of CroCo v2)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

RopeTable = tuple[Tensor, Tensor]


def rope_table(positions: Int[Tensor, "b n 2"], head_width: int, base: float) -> RopeTable:
    """Cosines and sines of the rotation angles, made once for all blocks.

    The first half of a head's channels turns with the row, the second half with the column; inside a half of D
    channels, channel m turns together with channel m + D/2 by position · base^(-2m/D).

    Args:
        positions: integer (row, column) of each token.
        head_width: channels of an attention head, a multiple of 4.
        base: base of the frequencies.

    Returns:
        cosine and sine, float32 (b, 1, n, 2, head_width / 4).
    """
    half = head_width // 2
    exponents = torch.arange(0, half, 2, dtype=torch.float32, device=positions.device) / half
    # Angles stay in float32 whatever the tokens are: a bfloat16 angle of 31 rad is off by up to 0.06.
    angles = positions[:, None, :, :, None].float() * base**-exponents
    return angles.cos(), angles.sin()


def rotate(tokens: Float[Tensor, "b h n d"], table: RopeTable) -> Float[Tensor, "b h n d"]:
    """Turn queries or keys by their positions' angles; the result has the tokens' type."""
    cosine, sine = table
    first, second = torch.unflatten(tokens, -1, (2, 2, -1)).unbind(-2)
    turned = torch.stack((first * cosine - second * sine, second * cosine + first * sine), dim=-2)
    return turned.flatten(-3).to(tokens.dtype)
