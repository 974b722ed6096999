"""Photographs become an `ImageSet`: found, checked, grouped by camera, laid on the network's grid."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dust3r_sfm.errors import ImageError, InputError
from dust3r_sfm.images.decode import as_rgb, decode, open_image, raw_size
from dust3r_sfm.images.exif import Exif, read_exif
from dust3r_sfm.images.find import SUFFIXES, check_names, find_photographs
from dust3r_sfm.images.masks import check_mask, find_masks
from dust3r_sfm.images.priors.panorama import (
    PANORAMA,
    continues_around,
    is_marked_panorama,
    is_twice_as_wide,
    panorama_warning,
)
from dust3r_sfm.images.resize import DEFAULT_GRID, Grid, network_grid
from dust3r_sfm.images.sharing import camera_groups
from dust3r_sfm.options import ImageOptions
from dust3r_sfm.system.names import is_unwritable
from dust3r_sfm.system.parallel import map_ordered, num_cores
from dust3r_sfm.types import Dropped, ImageSet, Size, View

_MIN_SIDE_RAW_PX = 32
"""A picture with a shorter side is an icon or a placeholder. Chosen by hand."""

_MIRRORED = (2, 4, 5, 7)
"""EXIF orientations that mirror the picture (EXIF 2.3)."""


@dataclass(frozen=True, kw_only=True)
class _Photograph:
    size: Size
    exif: Exif
    continues: bool


def read_images(
    photos: Path | Sequence[Path],
    options: ImageOptions,
    grid: Grid = DEFAULT_GRID,
    names: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """Read photographs, leaving out, by name and reason, those that cannot be used.

    Every file is decoded once (JPEG at an eighth of its size), because only that finds files that are cut short. Of
    several files with the same bytes the first is kept: a picture has no baseline to itself.

    Args:
        photos: a folder, whose sub-folders become part of the names; or a list of files or folders, or a text file that
            holds one, where the names are relative to the deepest folder that holds all.
        options: camera sharing, masks, strictness.
        grid: the network grid of the predictor.
        names: only these photographs, relative to that folder.
        progress: called with the number of photographs read and their total.

    Raises:
        InputError: no such folder or file, no usable photograph, an unknown name, masks or camera sharing that do not
            fit.
        ImageError: the first unusable photograph, with `strict`.
    """
    if names is not None and isinstance(photos, Path):
        root, chosen = photos, check_names(names, photos)  # a folder of many is not walked for a few
    else:
        root, found = find_photographs(photos)
        chosen = _outside(found, root, options.masks) if names is None else check_names(names, root)
    if not chosen:
        raise InputError(f"There are no photographs in {root}: it needs files ending in {', '.join(sorted(SUFFIXES))}.")
    photographs, dropped = _inspect_all(root, chosen, grid, progress or (lambda done, total: None))
    if options.strict and dropped:
        path = root / dropped[0].name
        raise ImageError(f"{path} cannot be used: {dropped[0].reason}.", name=dropped[0].name, path=path)
    if not photographs:
        raise InputError(f"No photograph in {root} can be used; the first, {dropped[0].name}: {dropped[0].reason}.")
    for name, original in _duplicates(root, list(photographs)).items():
        del photographs[name]
        dropped.append(Dropped(name=name, reason=f"it has the same bytes as {original}"))
    return _image_set(root, photographs, tuple(sorted(dropped, key=lambda item: item.name)), options, grid)


def _image_set(
    root: Path, photographs: dict[str, _Photograph], dropped: tuple[Dropped, ...], options: ImageOptions, grid: Grid
) -> ImageSet:
    names = list(photographs)
    sizes = [photograph.size for photograph in photographs.values()]
    cameras = [photograph.exif.camera for photograph in photographs.values()]
    groups = camera_groups(names, sizes, cameras, options.camera_sharing)
    masks: list[Path | None] = find_masks(options.masks, names) if options.masks else [None] * len(names)
    warnings = []
    views = []
    for (name, photograph), group, mask in zip(photographs.items(), groups, masks, strict=True):
        exif = photograph.exif
        if exif.orientation in _MIRRORED:
            warnings.append(f"{name} is mirrored (EXIF orientation {exif.orientation}); it is used as it is stored.")
        if mask is not None:
            check_mask(mask, name, photograph.size)
        network_size, network_from_image = network_grid(photograph.size, exif.orientation, grid)
        views.append(
            View(
                name=name,
                path=root / name,
                size=photograph.size,
                orientation=exif.orientation,
                network_size=network_size,
                network_from_image=network_from_image,
                focal_prior=exif.focal,
                camera_group=group,
                mask=mask,
            )
        )
    around = [name for name, photograph in photographs.items() if photograph.continues]
    if around:
        warnings.append(panorama_warning(around))
    unmasked = [name for name, mask in zip(names, masks, strict=True) if mask is None]
    if options.masks and unmasked:
        warnings.append(
            f"{len(unmasked)} of {len(names)} photographs have no mask in {options.masks} and are used whole, "
            f"{unmasked[0]} for one."
        )
    return ImageSet(root=root, views=tuple(views), dropped=dropped, warnings=tuple(warnings))


def _outside(names: Sequence[str], root: Path, masks: Path | None) -> list[str]:
    """Names that do not lie in the folder of masks."""
    if masks is None:
        return list(names)
    inside = masks.resolve()
    return [name for name in names if inside not in (root / name).resolve().parents]


def _inspect_all(
    root: Path, names: Sequence[str], grid: Grid, progress: Callable[[int, int], None]
) -> tuple[dict[str, _Photograph], list[Dropped]]:
    """Decode every file once, in threads (the decoders release the interpreter's lock)."""
    photographs = {}
    dropped = []
    results = map_ordered(lambda name: _inspect(root / name, name, grid), names, num_cores(0))
    for done, (name, result) in enumerate(zip(names, results, strict=True), start=1):
        progress(done, len(names))
        if isinstance(result, ImageError):
            shown = ascii(name)[1:-1] if is_unwritable(name) else name
            dropped.append(Dropped(name=shown, reason=str(result)))
        else:
            photographs[name] = result
    return photographs, dropped


def _inspect(path: Path, name: str, grid: Grid) -> _Photograph | ImageError:
    try:
        if is_unwritable(name):
            raise ImageError("its name holds a line break, a tab or broken characters: rename it")
        image = open_image(path)
        size = raw_size(image)
        exif = read_exif(image, size)
        panorama = is_marked_panorama(image)
        image.close()
        if panorama:
            raise ImageError(PANORAMA)
        if min(size) < _MIN_SIDE_RAW_PX:
            raise ImageError(f"it is only {size[0]} × {size[1]} pixels large")
        network_grid(size, exif.orientation, grid)
        picture = decode(path, at_least=(1, 1))
        as_rgb(picture.crop((0, 0, 1, 1)))  # every pixel is decoded, one is converted
        continues = is_twice_as_wide(size) and continues_around(np.asarray(as_rgb(picture)))
    except ImageError as error:
        return error
    return _Photograph(size=size, exif=exif, continues=continues)


def _duplicates(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Names whose bytes another, earlier name has too. Only files of equal length are read."""
    by_length: dict[int, list[str]] = {}
    for name in names:
        by_length.setdefault((root / name).stat().st_size, []).append(name)
    originals = {}
    for same_length in by_length.values():
        first_with: dict[bytes, str] = {}
        for name in same_length if len(same_length) > 1 else ():
            with (root / name).open("rb") as file:
                original = first_with.setdefault(hashlib.file_digest(file, "sha256").digest(), name)
            if original != name:
                originals[name] = original
    return originals
