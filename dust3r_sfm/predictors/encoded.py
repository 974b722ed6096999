"""Encoded photographs, and what each contributes to its pairs alone, kept while memory lasts."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from dust3r_sfm.network import Features

Shape = tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """The feature of one photograph.

    Attributes:
        name: of the photograph, for messages.
        shape: (height, width) on the network grid.
        features: what the network made of it (a batch of one), on the network's device.
        usable: pixels that may be used; None where all may.
    """

    name: str
    shape: Shape
    features: Features
    usable: Bool[np.ndarray, "h w"] | None


class Parts:
    """Keeps what photographs contribute alone; those not used for longest lose theirs when there is too much of it.

    Args:
        max_bytes: what `trim` leaves at most.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Encoded, None] = OrderedDict()

    def keep(self, encoded: Sequence[Encoded]) -> None:
        """Remember the photographs as the ones used last."""
        for one in encoded:
            self._kept[one] = None
            self._kept.move_to_end(one)

    def trim(self) -> None:
        """Forget the parts that are too much."""
        num_bytes = {one: _num_bytes(one.features) for one in self._kept}
        total = sum(num_bytes.values())
        while total > self._max_bytes:
            one, _ = self._kept.popitem(last=False)
            one.features.parts.clear()
            total -= num_bytes[one]

    def clear(self) -> None:
        """Forget all."""
        while self._kept:
            self._kept.popitem()[0].features.parts.clear()

    def halve(self) -> None:
        """Forget all, and keep half as much from now on."""
        self._max_bytes //= 2
        self.clear()


def _num_bytes(features: Features) -> int:
    tensors = [tensor for part in features.parts.values() for tensor in (part.projected, part.inside, part.skip)]
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)
