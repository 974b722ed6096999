"""What the network knows about an image before it meets another one."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dust3r_sfm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ViewPart:
    """What images contribute, alone, as the first or as the second of their pairs.

    Attributes:
        projected: encoder tokens in the decoder's width (b, n, d): what the other image's decoder looks at first.
        inside: `projected` after the self-attention of this view's first decoder block (b, n, d).
        skip: the finest level of this view's DPT head, ready to be added (b, f, rows · patch / 4, columns · patch / 4),
            stored as the images are; None for a linear head.
    """

    projected: Float[Tensor, "b n d"]
    inside: Float[Tensor, "b n d"]
    skip: Float[Tensor, "b f _ _"] | None


@dataclass(frozen=True, kw_only=True)
class Features:
    """Encoded images of one stored shape; made by `Network.encode`, valid for the weights they were made with.

    Attributes:
        tokens: encoder output (b, n, c), row by row over each photograph in its true orientation.
        grid: rows and columns of the stored token grid.
        transposed: which samples are portrait photographs stored transposed (b,), on the CPU.
        parts: what each image contributes as view 1 and view 2; filled on first use, then shared by all its pairs.
    """

    tokens: Float[Tensor, "b n c"]
    grid: tuple[int, int]
    transposed: Bool[Tensor, " b"]
    parts: dict[int, ViewPart] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.tokens)

    def select(self, rows: Sequence[int]) -> "Features":
        """The features of some images of the batch, in the order asked for (repeats allowed), parts included."""
        index = torch.tensor(rows, dtype=torch.int64)
        parts = {
            view: ViewPart(
                projected=part.projected[index],
                inside=part.inside[index],
                skip=None if part.skip is None else part.skip[index],
            )
            for view, part in self.parts.items()
        }
        return replace(self, tokens=self.tokens[index], transposed=self.transposed[index], parts=parts)

    def without_parts(self) -> "Features":
        """The tokens alone, about a tenth of the memory: what is worth storing on disk."""
        return replace(self, parts={})


def join(features: Sequence[Features]) -> Features:
    """One batch of several; parts that all of them have are kept.

    Raises:
        InputError: images of different shapes.
    """
    first = features[0]
    if any(other.grid != first.grid for other in features):
        raise InputError(f"Features of token grids {sorted({other.grid for other in features})} cannot share a batch.")
    views = set(first.parts).intersection(*(other.parts for other in features))
    return Features(
        tokens=torch.cat([other.tokens for other in features]),
        grid=first.grid,
        transposed=torch.cat([other.transposed for other in features]),
        parts={view: _join_parts([other.parts[view] for other in features]) for view in views},
    )


def _join_parts(parts: Sequence[ViewPart]) -> ViewPart:
    skips = [part.skip for part in parts if part.skip is not None]
    return ViewPart(
        projected=torch.cat([part.projected for part in parts]),
        inside=torch.cat([part.inside for part in parts]),
        skip=torch.cat(skips) if skips else None,
    )
