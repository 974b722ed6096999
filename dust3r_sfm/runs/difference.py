"""Why an output folder does not fit a run, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from dust3r_sfm.runs.record import Photographs
from dust3r_sfm.system.changes import changes

_SUMS = {
    "photographs": "other photographs",
    "model": "another model",
    "known": "other known cameras or poses",
    "weights_files": "other weights under the same name",
    "masks": "other masks",
    "pairs_file": "another list of pairs",
    "pairs_poses": "other poses to select pairs by",
    "features": "other features",
    "matches": "other matches",
    "matcher_weights": "other weights of the matcher",
    "cameras": "other cameras to refine",
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
    if "photographs" in changed and old and new and not old.digests and old.bytes == new.bytes and new.digests:
        return "that an earlier version of this program made"
    named = _photographs(old, new) if "photographs" in changed and old and new else ""
    return "; ".join(changes(before, now, changed, _SUMS | {"photographs": f"other photographs{named}"}))


def _photographs(old: Photographs, new: Photographs) -> str:
    before, now = set(old.used), set(new.used)
    edited = [
        name
        for name in new.used
        if any(name in was and was[name] != is_now.get(name) for was, is_now in _sums_of(old, new))
    ]
    parts = [
        _listed(sorted(names), *verbs)
        for names, verbs in (
            (now - before, ("is new", "are new")),
            (before - now, ("is gone", "are gone")),
            (edited, ("has changed", "have changed")),
        )
        if names
    ]
    return f": {', '.join(parts)}" if parts else ""


def _sums_of(old: Photographs, new: Photographs) -> tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...]:
    """What tells files apart, where both records have it."""
    return (old.bytes, new.bytes), *(((old.digests, new.digests),) if new.digests else ())


def _listed(names: Sequence[str], one: str, more: str) -> str:
    if len(names) > _MOST_NAMES:
        return f"{', '.join(names[:_MOST_NAMES])} and {len(names) - _MOST_NAMES} more {more}"
    return f"{names[0]} {one}" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} {more}"
