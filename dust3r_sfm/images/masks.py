"""COLMAP's masks: MASKS/NAME.png beside each photograph, black pixels are ignored."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.decode import naming, open_image, raw_size
from dust3r_sfm.types import Scene, Size


def find_masks(folder: Path, names: Sequence[str]) -> list[Path | None]:
    """The mask of each photograph: MASKS/a/IMG.jpg.png, or MASKS/a/IMG.png, or None.

    Raises:
        InputError: there is no such folder, or it has no mask for any photograph.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder of masks at {folder}: check --masks.", path=folder)
    masks = [_find_mask(folder, name) for name in names]
    if names and not any(masks):
        raise InputError(
            f"{folder} has no mask for any photograph: masks are called like {names[0]}.png or "
            f"{PurePosixPath(names[0]).with_suffix('.png')}.",
            path=folder,
        )
    return masks


def with_masks(scene: Scene, folder: Path | None) -> Scene:
    """Give the images of a scene the masks of another folder than those it was made with; None keeps them.

    Raises:
        InputError: see `find_masks` and `check_mask`.
    """
    if folder is None:
        return scene
    masks = find_masks(folder, scene.names)
    for view, mask in zip(scene.views, masks, strict=True):
        if mask is not None:
            check_mask(mask, view.name, view.size)
    views = tuple(replace(view, mask=mask) for view, mask in zip(scene.views, masks, strict=True))
    return replace(scene, views=views)


def check_mask(mask: Path, name: str, size: Size) -> None:
    """Make sure that a mask covers the raw pixel grid of its photograph.

    Raises:
        InputError: its size is another.
    """
    with naming(mask):
        mask_size = raw_size(open_image(mask))
    if mask_size != size:
        turned = " (masks lie on the pixels as stored, before EXIF orientation)" if mask_size == size[::-1] else ""
        raise InputError(
            f"The mask {mask} is {mask_size[0]} × {mask_size[1]} pixels large, but {name} is {size[0]} × {size[1]}: "
            f"save the mask in the photograph's size{turned}.",
            path=mask,
        )


def _find_mask(folder: Path, name: str) -> Path | None:
    candidates = (folder / f"{name}.png", folder / PurePosixPath(name).with_suffix(".png"))
    return next((path for path in candidates if path.is_file()), None)
