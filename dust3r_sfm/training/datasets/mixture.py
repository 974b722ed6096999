"""Epochs drawn from several sources: so many pairs of each, batches of one shape, broken pairs passed over."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dust3r_sfm.errors import InputError, SampleError
from dust3r_sfm.training.batch import Batch, collate
from dust3r_sfm.training.datasets.source import PairSource, ViewPair
from dust3r_sfm.training.view import crop_view
from dust3r_sfm.types import Size

_SEED_OFFSET = 777
"""Added to the epoch: Wang et al. 2024, released code."""
_MAX_ATTEMPTS = 100
"""Pairs of a source that may be broken in a row: chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A source and how many of its pairs an epoch holds; a source with fewer repeats."""

    source: PairSource
    pairs_per_epoch: int


@dataclass(kw_only=True)
class Mixture:
    """A training or validation set.

    Any batch of any epoch is made from (seed, epoch, its number) alone, so that a resumed run, and each of several
    processes, sees exactly what it would have seen.

    Attributes:
        shares: the sources.
        sizes: (width, height) of the crops; every batch draws one.
        batch_size: pairs in a batch, before it is made symmetric.
        seed: of all draws.
        broken: how many drawn pairs could not be used, by reason.
    """

    shares: Sequence[Share]
    sizes: Sequence[Size]
    batch_size: int
    seed: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    _latest: tuple[int, list[tuple[int, int]]] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        for share in self.shares:
            if not len(share.source):
                raise InputError(f"The data set {share.source.name} holds no pair; check its folder.")

    def batches_per_epoch(self, world_size: int = 1) -> int:
        """Batches that each of `world_size` processes sees; what does not fill a round of batches is left out."""
        return sum(share.pairs_per_epoch for share in self.shares) // (self.batch_size * world_size)

    def batch(self, epoch: int, number: int, rank: int = 0, world_size: int = 1) -> Batch:
        """One batch of an epoch, for one of several processes; batches may be made in any order, by several threads."""
        order = self._order(epoch)
        # All processes draw the same size for a round of batches: none waits for another's larger one.
        size = self.sizes[int(np.random.default_rng((self.seed, epoch, number)).integers(len(self.sizes)))]
        start = (number * world_size + rank) * self.batch_size
        rng = np.random.default_rng((self.seed, epoch, number, rank))
        return collate([self._pair(order, place, size, rng) for place in range(start, start + self.batch_size)])

    def _order(self, epoch: int) -> list[tuple[int, int]]:
        """(share, pair) of everything in an epoch, shuffled; a fresh permutation of each source as often as needed."""
        if self._latest is not None and self._latest[0] == epoch:
            return self._latest[1]
        rng = np.random.default_rng((self.seed, epoch + _SEED_OFFSET))
        drawn = []
        for which, share in enumerate(self.shares):
            size = len(share.source)
            rounds = [rng.permutation(size) for _ in range(-(-share.pairs_per_epoch // size))]
            drawn += [(which, int(index)) for index in np.concatenate(rounds)[: share.pairs_per_epoch]]
        order = [drawn[place] for place in rng.permutation(len(drawn))]
        self._latest = (epoch, order)
        return order

    def _pair(self, order: list[tuple[int, int]], place: int, size: Size, rng: np.random.Generator) -> ViewPair:
        """The pair at a place of the epoch, or another of the same source where it is broken."""
        which, index = order[place]
        source = self.shares[which].source
        for _ in range(_MAX_ATTEMPTS):
            try:
                first, second = source.pair(index, rng)
                return crop_view(first, size, source.margin, rng), crop_view(second, size, source.margin, rng)
            except (SampleError, ValueError) as error:
                self.broken[f"{source.name}: {error}"] += 1
                index = int(rng.integers(len(source)))
        raise InputError(
            f"{_MAX_ATTEMPTS} pairs of {source.name} in a row cannot be used; the last: {max(self.broken)}"
        )
