"""Options that a command shares with others but does not read: it says so instead of ignoring them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from dust3r_sfm.errors import InputError
from dust3r_sfm.options import ReconstructOptions


@dataclass(frozen=True, kw_only=True)
class Unread:
    """Options of one group that a command does not read.

    Attributes:
        group: field of `ReconstructOptions`.
        names: fields of that group.
        why: the reason, as the end of a sentence.
    """

    group: str
    names: tuple[str, ...]
    why: str


def all_of(group: str, why: str, *, but: Sequence[str] = ()) -> Unread:
    """All options of a group, apart from some."""
    names = [item.name for item in fields(getattr(ReconstructOptions(), group))]
    return Unread(group=group, names=tuple(name for name in names if name not in but), why=why)


def refuse_unread(verb: str, options: ReconstructOptions, unread: Sequence[Unread]) -> None:
    """Refuse options that were given although the command does not read them.

    Raises:
        InputError: naming the flags of the first group that has any.
    """
    default = ReconstructOptions()
    for part in unread:
        given, usual = getattr(options, part.group), getattr(default, part.group)
        flags = [
            _flag(name, getattr(given, name)) for name in part.names if getattr(given, name) != getattr(usual, name)
        ]
        if flags:
            raise InputError(f"`dust3r-sfm {verb}` does not read {' and '.join(flags)}: {part.why}.")


def _flag(name: str, value: Any) -> str:
    return f"--{'no-' if value is False else ''}{name.replace('_', '-')}"
