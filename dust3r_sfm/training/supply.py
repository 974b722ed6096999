"""Batches made ahead of the step that needs them."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, runtime_checkable

from dust3r_sfm.training.batch import Batch


@runtime_checkable
class BatchSource(Protocol):
    """A training or validation set: any batch of any epoch, from its number alone."""

    def batches_per_epoch(self, world_size: int = 1) -> int:
        """Batches that each of `world_size` processes sees."""

    def batch(self, epoch: int, number: int, rank: int = 0, world_size: int = 1) -> Batch:
        """Make a batch; called by several threads at once."""


def supply(
    source: BatchSource, epoch: int, first: int, num_workers: int, rank: int = 0, world_size: int = 1
) -> Iterator[Batch]:
    """Batches of an epoch in order, from number `first` on, made by threads while the caller works.

    Args:
        source: makes the batches.
        epoch: the epoch.
        first: number of the first batch wanted.
        num_workers: threads; 0 makes each batch when it is asked for.
        rank, world_size: which of how many processes this is.
    """
    numbers = range(first, source.batches_per_epoch(world_size))
    if not num_workers:
        yield from (source.batch(epoch, number, rank, world_size) for number in numbers)
        return
    with ThreadPoolExecutor(num_workers) as pool:
        waiting: deque[Future[Batch]] = deque()
        try:
            for number in numbers:
                waiting.append(pool.submit(source.batch, epoch, number, rank, world_size))
                if len(waiting) > 2 * num_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
