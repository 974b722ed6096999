"""Which photographs were taken by one camera."""

from collections.abc import Hashable, Sequence
from pathlib import PurePosixPath

from dust3r_sfm.errors import InputError
from dust3r_sfm.options import CameraSharing
from dust3r_sfm.types import Size

_PHOTOGRAPHS_PER_SIZE = 10
"""Photographs without EXIF share cameras when each size occurs about this often, or when there is only one size. Chosen
by hand."""


def camera_groups(
    names: Sequence[str], sizes: Sequence[Size], cameras: Sequence[Hashable | None], sharing: CameraSharing
) -> list[int]:
    """Number the cameras: photographs with equal numbers share one. Sharing asks for equal sizes, up to a quarter turn.

    With `auto`, photographs with EXIF share when size, make, model and focal length agree. Without EXIF, size is all
    there is: frames of a video agree in it because one camera took them, pictures collected from the internet by
    accident. Many sizes are the mark of a collection, so they share only when each size occurs ten times on average, or
    when there is only one size.

    Args:
        names: relative to the image root.
        sizes: (width, height) of the raw grids.
        cameras: EXIF identity of each camera, None without EXIF.
        sharing: the user's choice.

    Raises:
        InputError: the user says that photographs of different sizes share a camera.
    """
    shapes = [(max(size), min(size)) for size in sizes]
    keys: list[Hashable]
    if sharing == "single":
        keys = [""] * len(names)
    elif sharing == "per-folder":
        keys = [str(PurePosixPath(name).parent) for name in names]
    elif sharing == "per-image":
        keys = list(names)
    else:
        anonymous = [shape for shape, camera in zip(shapes, cameras, strict=True) if camera is None]
        num_sizes = len(set(anonymous))
        may_share = num_sizes == 1 or num_sizes * _PHOTOGRAPHS_PER_SIZE <= len(anonymous)
        keys = [
            name if camera is None and not may_share else (shape, camera)
            for name, shape, camera in zip(names, shapes, cameras, strict=True)
        ]
    first_with: dict[Hashable, int] = {}
    for index, key in enumerate(keys):
        first = first_with.setdefault(key, index)
        if shapes[first] != shapes[index]:
            raise InputError(
                f"{names[first]} ({_text(sizes[first])}) and {names[index]} ({_text(sizes[index])}) cannot share a "
                f"camera, because their sizes differ: use --camera-sharing auto or per-image instead of {sharing}."
            )
    number_of = {key: number for number, key in enumerate(first_with)}
    return [number_of[key] for key in keys]


def _text(size: Size) -> str:
    return f"{size[0]} × {size[1]}"
