"""Whose camera or pose is which: names in the files of other programs against those of the photographs."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from dust3r_sfm.errors import InputError
from dust3r_sfm.system.names import refuse_unsafe_name

Value = TypeVar("Value")

_MAX_LISTED = 3
"""Names that a sentence lists. Chosen by hand."""


def resolve(
    foreign: Mapping[str, Value], names: Sequence[str], source: str | Path, what: str
) -> tuple[dict[str, Value], list[str]]:
    """Give every photograph what a file says under its name.

    A name in the file may have more or fewer leading folders than the photograph's (`images/a.jpg` for `a.jpg`), and
    may lack the extension, as in transforms.json.

    Args:
        foreign: what the file holds, by its names.
        names: of the photographs.
        source: the file, for sentences.
        what: "camera" or "pose".

    Returns:
        What is known, by names of photographs, and sentences on names that only one side has.

    Raises:
        InputError: a name leads out of the folder, fits two photographs, or none of them fits any.
    """
    for name in foreign:
        refuse_unsafe_name(name, Path(source))
    paths = {name: PurePosixPath(name.replace("\\", "/")) for name in foreign}
    by_last: dict[str, list[str]] = {}
    for name, path in paths.items():
        for last in {path.name, _stem(path)}:
            by_last.setdefault(last, []).append(name)
    found: dict[str, Value] = {}
    owner_of: dict[str, str] = {}
    for name in names:
        path = PurePosixPath(name)
        candidates = list(dict.fromkeys(by_last.get(path.name, []) + by_last.get(_stem(path), [])))
        fitting = [name] if name in foreign else [other for other in candidates if _fits(paths[other], path)]
        if len(fitting) > 1:
            raise InputError(
                f"{source} has a {what} for {fitting[0]} and for {fitting[1]}, and both fit {name}; "
                "name them as the photographs are named."
            )
        if fitting and fitting[0] in owner_of:
            raise InputError(
                f"The {what} of {fitting[0]} in {source} fits {owner_of[fitting[0]]} and {name}; "
                "name it as the photograph is named."
            )
        if fitting:
            owner_of[fitting[0]], found[name] = name, foreign[fitting[0]]
    if not found:
        example = f" (it has {next(iter(foreign))}, not {names[0]})" if foreign and names else ""
        raise InputError(f"{source} has no {what} for any of the photographs{example}; check its names.")
    return found, _one_sided(foreign, names, found, owner_of, source, what)


def _one_sided(
    foreign: Mapping[str, Value],
    names: Sequence[str],
    found: Mapping[str, Value],
    owner_of: Mapping[str, str],
    source: str | Path,
    what: str,
) -> list[str]:
    warnings = []
    strange = [name for name in foreign if name not in owner_of]
    if strange:
        warnings.append(
            f"{source} has a {what} for {_listed(strange)}, which are not among the photographs; they are not used."
        )
    missing = [name for name in names if name not in found]
    if missing:
        warnings.append(f"{source} has no {what} for {_listed(missing)}; it is found from the photographs.")
    return warnings


def _fits(foreign: PurePosixPath, name: PurePosixPath) -> bool:
    """Whether one of two paths is the end of the other; the extension may differ or be missing."""
    if foreign.name != name.name:
        foreign, name = foreign.with_name(_stem(foreign)), name.with_name(_stem(name))
    shorter = min(len(foreign.parts), len(name.parts))
    return foreign.parts[-shorter:] == name.parts[-shorter:]


def _stem(path: PurePosixPath) -> str:
    """The name without the extension of a picture, nor the `.color` and `.pose` of 7-Scenes."""
    stem = path.name.removesuffix(".pose.txt")
    for suffix in (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".heic", ".heif"):
        if stem.lower().endswith(suffix):
            stem = stem[: -len(suffix)]
            break
    return stem.removesuffix(".color")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return f"{', '.join(names[:_MAX_LISTED])}{more}"
