"""How a long run tells where it is: stages with steps; silent unless somebody shows them."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

Step = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


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
