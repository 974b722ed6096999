"""Where the photographs are: a folder, a list of files, or a text file that lists them."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.decode import HEIC_SUFFIXES
from dust3r_sfm.system.text import read_text

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"}) | HEIC_SUFFIXES


def find_images(root: Path) -> list[str]:
    """Names of all image files below a folder, relative to it, with forward slashes, sorted.

    Files are known by their extension in any case; hidden files and folders are passed over, linked folders entered.

    Raises:
        InputError: there is no such folder, or it is a file.
    """
    if not root.is_dir():
        remedy = "give the folder that holds it" if root.exists() else "check the path"
        raise InputError(f"{root} is not a folder of photographs: {remedy}.", path=root)
    names = []
    entered = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        entered.add(os.path.realpath(folder))
        subfolders[:] = sorted(
            name for name in subfolders if name[0] != "." and os.path.realpath(Path(folder, name)) not in entered
        )
        relative = Path(folder).relative_to(root)
        names += [
            (relative / name).as_posix() for name in files if name[0] != "." and Path(name).suffix.lower() in SUFFIXES
        ]
    return sorted(names)


def find_photographs(photos: Path | Sequence[Path]) -> tuple[Path, list[str]]:
    """The root and the names of the photographs that the user means.

    Args:
        photos: a folder; a list of files, or of folders with all they hold; or a text file (.txt) with such a list,
            one path a line, relative to the folder of the text file.

    Returns:
        The folder itself, or the deepest one that holds all files of a list; and the names relative to it, sorted, each
        once.

    Raises:
        InputError: there is no such folder or file, or the list is empty or cannot be read.
    """
    if isinstance(photos, Path):
        if photos.suffix.lower() != ".txt" or photos.is_dir():
            return photos, find_images(photos)
        photos = _listed(photos)
    if not photos:
        raise InputError("The list of photographs is empty: name one at least.")
    files = []
    for path in map(Path.absolute, photos):
        if not path.exists():
            raise InputError(f"There is no photograph {path}: check the list of photographs.")
        files += [path / name for name in find_images(path)] if path.is_dir() else [path]
    if not files:
        raise InputError(f"There are no photographs in {photos[0]}: give folders that hold some, or the files.")
    names = [os.path.normpath(file) for file in files]  # what `..` leads to; links keep the names that they have here
    try:
        root = Path(os.path.commonpath([os.path.dirname(name) for name in names]))  # noqa: PTH120
    except ValueError as error:  # two drives of Windows
        raise InputError(f"{names[0]} and others of the list share no folder: copy them to one drive.") from error
    return root, sorted({Path(name).relative_to(root).as_posix() for name in names})


def check_names(names: Sequence[str], root: Path) -> list[str]:
    """The user's own list of names below a root, sorted, each once.

    Raises:
        InputError: a name leads out of the folder, or to no file.
    """
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InputError(
                f"{name} leads out of {root}: names of photographs are relative to their folder.", path=root
            )
        if not (root / name).is_file():
            raise InputError(f"There is no photograph {name} in {root}: check the list of names.", path=root)
    return sorted({PurePosixPath(name).as_posix() for name in names})


def _listed(path: Path) -> list[Path]:
    """The paths in a text file, one a line; empty lines are passed over."""
    try:
        lines = read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise InputError(
            f"The list of photographs {path} cannot be read ({error}): give a text file.", path=path
        ) from error
    return [path.parent / line.strip() for line in lines if line.strip()]
