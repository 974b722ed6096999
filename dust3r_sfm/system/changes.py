"""What changed between two sets of inputs, in words."""

from collections.abc import Mapping, Sequence
from typing import Any


def changes(
    before: Mapping[str, Any], now: Mapping[str, Any], names: Sequence[str], sums: Mapping[str, str]
) -> list[str]:
    """Say how inputs differ: "camera sharing was auto, is now single", "of other masks".

    Args:
        before, now: JSON values by name.
        names: of those that differ.
        sums: of inputs that are check sums: what it means that they differ. They come last.
    """
    both = {name for name in names if name in sums and None not in (before.get(name, ""), now.get(name, ""))}
    plain = [
        f"{name.replace('_', ' ')} was {_in_words(before.get(name), name in sums)}, "
        f"is now {_in_words(now.get(name), name in sums)}"
        for name in names
        if name not in both
    ]
    return [*plain, *(f"of {sums[name]}" for name in names if name in both)]


def _in_words(value: Any, is_sum: bool) -> str:
    words = {None: "not given", True: "on", False: "off"}
    if value is None or isinstance(value, bool):
        return words[value]
    return "given" if is_sum else str(value)
