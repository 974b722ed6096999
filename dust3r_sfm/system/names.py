"""Names of photographs in the files of others: they stay inside a folder, and a line of text can hold them."""

import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

from dust3r_sfm.errors import InputError


def refuse_unsafe_name(name: str, source: Path) -> None:
    """Refuse a name in a foreign file that would leave the image folder, or that no line of text can hold.

    Args:
        name: of a photograph.
        source: the file or folder that it is from, for sentences.

    Raises:
        InputError: when the name is empty, absolute, contains `..`, or holds line breaks or control characters.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive:
        raise InputError(
            f"{source} names an image '{name}', which leads out of the image folder; rename it.", path=source
        )
    if is_unwritable(name):
        raise InputError(
            f"{source} names an image {name!a}, which holds line breaks or control characters; rename it.",
            path=source,
        )


def is_unwritable(name: str) -> bool:
    """Whether a name holds line breaks, control characters or bytes that are not UTF-8: text files cannot keep it."""
    return any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name)


def line_name(name: str) -> str:
    """The name as a line of COLMAP's text files can begin and end with it: those pass over '#' and trim blanks."""
    inner = name.strip()
    kept = "_" + inner[1:] if inner.startswith("#") else inner
    return "_" * (len(name) - len(name.lstrip())) + kept + "_" * (len(name) - len(name.rstrip()))


def path_inside(folder: Path, name: str) -> Path:
    """The path of a name in a folder, for whoever writes a file there.

    Raises:
        InputError: it would lie outside, by the name or by a link.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"The image '{name}' would be written outside of {folder}; rename it.", path=folder)
    return path
