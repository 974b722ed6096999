"""Why an output folder does not fit a run, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from dust3r_sfm.runs.record import Photographs

_SUMS = {
    "photographs": "other photographs",
    "model": "another model",
    "known": "other known cameras or poses",
    "weights_files": "other weights under the same name",
}
"""Inputs that are check sums or long lists: what it means that they differ."""
_FOLLOW = {"known": "camera_sharing", "weights_files": "weights"}
"""Inputs that differ because another one does: `extend` knows the cameras that new photographs share with old ones."""
_MOST_NAMES = 3
"""Names that a sentence lists; chosen by hand."""


def difference(
    before: Mapping[str, Any], now: Mapping[str, Any], old: Photographs | None, new: Photographs | None
) -> str:
    """Say what changed between the inputs of a stage, as in "camera sharing was auto, is now single".

    Args:
        before, now: inputs of the stage; at least one differs.
        old, new: the photographs of the two runs, where they are known.
    """
    if "camera_sharing" in now and "camera_sharing" not in before:
        return "that an earlier version of this program made"
    differing = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    changed = [name for name in differing if _FOLLOW.get(name) not in differing]
    plain = [
        f"{name.replace('_', ' ')} was {_in_words(before.get(name))}, is now {_in_words(now.get(name))}"
        for name in changed
        if name not in _SUMS
    ]
    named = _photographs(old, new) if "photographs" in changed and old and new else ""
    sums = [f"of {_SUMS[name]}{named if name == 'photographs' else ''}" for name in changed if name in _SUMS]
    return "; ".join([*plain, *sums])


def _photographs(old: Photographs, new: Photographs) -> str:
    before, now = set(old.used), set(new.used)
    resized = [name for name in new.used if name in old.bytes and old.bytes[name] != new.bytes.get(name)]
    parts = [
        _listed(sorted(names), *verbs)
        for names, verbs in (
            (now - before, ("is new", "are new")),
            (before - now, ("is gone", "are gone")),
            (resized, ("has changed", "have changed")),
        )
        if names
    ]
    return f": {', '.join(parts)}" if parts else ""


def _listed(names: Sequence[str], one: str, more: str) -> str:
    if len(names) > _MOST_NAMES:
        return f"{', '.join(names[:_MOST_NAMES])} and {len(names) - _MOST_NAMES} more {more}"
    return f"{names[0]} {one}" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} {more}"


def _in_words(value: Any) -> str:
    words = {None: "not given", True: "on", False: "off"}
    return words[value] if value is None or isinstance(value, bool) else str(value)
