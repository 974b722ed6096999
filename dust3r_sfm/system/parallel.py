"""Threads that share the work of a set, one library thread each; OpenCV, NumPy and pycolmap release the GIL."""

import contextlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

IN_FLIGHT_PER_WORKER = 2
"""Results that wait to be taken: enough to keep every worker busy, few enough to bound the memory."""


def num_cores(num_workers: int) -> int:
    """Give the number of workers: `num_workers`, or one for each core this process may use when it is 0."""
    if num_workers > 0:
        return num_workers
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_ordered(function: Callable[[Item], Result], items: Iterable[Item], num_workers: int) -> Iterator[Result]:
    """Yield `function(item)` in the order of the items, computed by several threads with a bounded number in flight.

    The results do not depend on the number of workers. While the iteration lasts, OpenCV, BLAS and torch (where it is
    loaded: nothing here needs it) use one thread per call; their settings are restored when it ends or is dropped.
    """
    with (
        _single_threaded_libraries(),
        ThreadPoolExecutor(max_workers=num_workers, initializer=_one_torch_thread) as pool,
    ):
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= num_workers * IN_FLIGHT_PER_WORKER:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@contextlib.contextmanager
def _single_threaded_libraries() -> Iterator[None]:
    import cv2
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    cv2_threads, torch_threads = cv2.getNumThreads(), torch.get_num_threads() if torch else 1
    cv2.setNumThreads(1)
    _one_torch_thread()
    try:
        with threadpool_limits(limits=1, user_api="blas"):  # its threads spin for each other when there are too many
            yield
    finally:
        cv2.setNumThreads(cv2_threads)
        if torch:
            torch.set_num_threads(torch_threads)


def _one_torch_thread() -> None:
    """OpenMP keeps its thread count per calling thread, so each worker sets its own."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
