"""Threads that share the work of a set, one library thread each; OpenCV, NumPy and pycolmap release the GIL."""

import contextlib
import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_IN_FLIGHT_PER_WORKER = 2
"""Results that wait to be taken: enough to keep every worker busy, few enough to bound the memory. Chosen by hand."""

_CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says how much processor time a container may use."""

_num_workers: ContextVar[int] = ContextVar("num_workers", default=0)


def num_cores(num_workers: int = 0) -> int:
    """Give the number of workers: `num_workers`, else that of the `workers` block around it, else one for each core.

    Cores are those that this process may use: by its affinity, and by the quota of its container.
    """
    if chosen := num_workers or _num_workers.get():
        return chosen
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota(_CGROUP))))


@contextlib.contextmanager
def workers(num_workers: int) -> Iterator[None]:
    """Let pools that are told no number have `num_workers` threads; 0: one for each core."""
    before = _num_workers.set(num_workers)
    try:
        yield
    finally:
        _num_workers.reset(before)


def _quota(cgroup: Path) -> float:
    """Cores' worth of time that control groups (version 2 or 1) allow; infinite where they say nothing."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        return math.inf if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return math.inf if int(quota) <= 0 else int(quota) / int(period)
    return math.inf


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
                if len(pending) >= num_workers * _IN_FLIGHT_PER_WORKER:
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
