"""What a source of training pairs offers, and which sources there are."""

from typing import Protocol, runtime_checkable

import numpy as np

from dust3r_sfm.training.view import TrainingView

ViewPair = tuple[TrainingView, TrainingView]


@runtime_checkable
class PairSource(Protocol):
    """A data set.

    Attributes:
        name: for messages.
        margin: pixels by which the scale of its crops may vary (the recipe's `aug_crop`).
    """

    name: str
    margin: int

    def __len__(self) -> int:
        """Number of pairs."""

    def pair(self, index: int, rng: np.random.Generator) -> ViewPair:
        """Read one pair; `rng` serves sources that draw something.

        Raises:
            SampleError: it cannot be used, with the file and the reason.
        """
