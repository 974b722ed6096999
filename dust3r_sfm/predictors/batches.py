"""Work in batches of one shape, halved where the memory of the device ends."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.predictors.device import is_out_of_memory, release_memory
from dust3r_sfm.predictors.encoded import Shape

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batches:
    """Batches for one device; what did not fit once is not tried again.

    Args:
        device: where the work runs.
        max_pixels: of either side of a batch.
        make_room: called where memory ended, before the next try.
    """

    def __init__(self, device: torch.device, max_pixels: int, make_room: Callable[[], None]) -> None:
        self._device = device
        self._max_pixels = max_pixels
        self._make_room = make_room

    def run(
        self,
        function: Callable[[Sequence[Item]], Sequence[Result]],
        items: Iterable[Item],
        shapes_of: Callable[[Item], tuple[Shape, ...]],
    ) -> Iterator[Result]:
        """Yield the results of a function that takes items of equal shapes together; nearly in their order.

        Raises:
            PredictorError: one item alone exceeds the memory.
        """
        for batch in self._gathered(items, shapes_of):
            yield from self._within_memory(function, batch)

    def _gathered(
        self, items: Iterable[Item], shapes_of: Callable[[Item], tuple[Shape, ...]]
    ) -> Iterator[Sequence[Item]]:
        """Gather items of equal shapes, nearly in the order they come, so that neighbours share what they can."""
        waiting: dict[tuple[Shape, ...], list[Item]] = defaultdict(list)
        for item in items:
            shapes = shapes_of(item)
            waiting[shapes].append(item)
            if (len(waiting[shapes]) + 1) * max(height * width for height, width in shapes) > self._max_pixels:
                yield waiting.pop(shapes)
        yield from waiting.values()

    def _within_memory(
        self, function: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]
    ) -> Iterator[Result]:
        """Yield the results of `function` on the items, in halves and halves of halves where the memory ends."""
        size, second_try = len(items), False
        while items:
            try:
                results = function(items[:size])
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                results = None
            # Outside the handler, whose traceback would keep the tensors of the failed batch.
            if results is not None:
                yield from results
                items, second_try = items[size:], False
                continue
            if size == 1 and second_try:
                raise PredictorError(
                    f"The memory of {self._device} does not hold the work on one pair of photographs; "
                    "end other programs that use it, or use --device cpu."
                )
            second_try = size == 1
            size = max(1, size // 2)
            self._max_pixels //= 2
            self._make_room()
            release_memory(self._device)
