"""How a long run tells where it is: stages with phases and steps; silent unless somebody shows them."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

Step = Callable[[int, int], None]
"""Called with (steps done, steps in all) of the phase."""


@runtime_checkable
class Progress(Protocol):
    """Something that shows the stages of a run."""

    def stage(self, name: str) -> AbstractContextManager[Step]:
        """Enter a stage; the value is called as its steps are done."""
        ...


class Silent:
    """Shows nothing: what Python callers get unless they ask for more."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Step]:
        """See `Progress`."""
        yield lambda done, total: None


def phase(name: str) -> None:
    """Say what the stage under way does from here on, for whoever shows it; its steps count from 0 again."""
    _listener.get()(name)


@contextlib.contextmanager
def hearing_phases(listener: Callable[[str], None]) -> Iterator[None]:
    """Call `listener` with the name of every phase that begins meanwhile, on this thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def _nobody(name: str) -> None:
    del name


_listener: ContextVar[Callable[[str], None]] = ContextVar("listener", default=_nobody)
