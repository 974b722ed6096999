"""What other packages register under a name in an entry-point group."""

import difflib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from dust3r_sfm.errors import PredictorError


def registered(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name."""
    return {entry_point.name: entry_point for entry_point in entry_points(group=group)}


def load_factory(group: str, kind: str, name: str) -> Callable[..., Any]:
    """Import what is registered under a name.

    Args:
        group: entry-point group.
        kind: what its members are, for the message.
        name: which.

    Raises:
        PredictorError: nothing has this name, or it cannot be imported.
    """
    known = registered(group)
    entry_point = known.get(name)
    if entry_point is None:
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"registered are: {', '.join(sorted(known))}."
        raise PredictorError(f"No {kind} is called '{name}'; {hint}")
    try:
        factory: Callable[..., Any] = entry_point.load()
    except (ImportError, AttributeError) as error:
        raise PredictorError(
            f"The {kind} '{name}' cannot be imported from {entry_point.value} ({error}); install what it needs."
        ) from error
    return factory
