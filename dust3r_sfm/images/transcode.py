"""One folder of pictures that COLMAP reads: WebP and HEIC are written again as JPEG or PNG, some names are changed."""

import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from dust3r_sfm.images.decode import as_rgb, decode, naming, open_image
from dust3r_sfm.images.exif import exif_bytes
from dust3r_sfm.images.grey_range import GreyRange, has_wide_pixels, narrow_range, stretched
from dust3r_sfm.system.files import atomic_path
from dust3r_sfm.system.names import line_name
from dust3r_sfm.system.parallel import map_ordered, num_cores
from dust3r_sfm.types import ImageSet, View

logger = logging.getLogger("dust3r_sfm")

_SUFFIX_OF_FORMAT = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "TIFF": ".tif", "BMP": ".bmp"}
"""Formats that the decoders inside pycolmap's wheels open, by content whatever the extension says."""

_WRITABLE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"})
"""Extensions that COLMAP's undistorter can write: it keeps the name and chooses the format by it."""

_TABLE = "names.json"
"""New names by old ones, in the folder."""

_JPEG_QUALITY = 95
"""Of Pillow's 1 to 95. Chosen by hand."""


def transcode(images: ImageSet, folder: Path) -> ImageSet:
    """Give every photograph a file that COLMAP reads, all below one image root.

    When all are readable, the set comes back as it is. Otherwise `folder` gets the whole set: readable files as hard
    links (copies across file systems), the others as JPEG of quality 95, or as PNG when they are transparent. Those
    keep their raw pixel grid, EXIF and orientation tag, and get an extension that COLMAP can write as well (`a.webp`
    becomes `a.jpg`, or `a.webp.jpg` where that is taken). A name that begins with '#' or with a blank, which COLMAP's
    text files cannot hold, begins with '_' instead. `names.json` in the folder has the new name of each old one.
    16-bit grey pictures that use a small part of their range (`narrow_range`) are written with 8 bits in their format.

    Args:
        images: as read.
        folder: what is made; it replaces what an earlier run left there, but uses its files again.

    Returns:
        The set with the root, names and paths that now hold, in the order of `images` and with the same masks. So
        `zip(images.names, result.names)` tells old names from new.

    Raises:
        ImageError: a photograph has been damaged or removed since it was read.
        OutputError: the disk is full or `folder` cannot be written.
    """
    suffixes = [_new_suffix(view) for view in images.views]
    wanted = [(line_name(view.name), suffix) for view, suffix in zip(images.views, suffixes, strict=True)]
    grey = narrow_range(images.views)
    if grey is None and all(want == (name, None) for want, name in zip(wanted, images.names, strict=True)):
        return images
    if grey is not None:
        logger.info("16-bit pictures use %.0f to %.0f of 65535: that is stretched over the 8 bits they get", *grey)
    taken = {view.name for view, suffix in zip(images.views, suffixes, strict=True) if suffix is None}
    names = []
    for view, (name, suffix) in zip(images.views, wanted, strict=True):
        names.append(name if (name, suffix) == (view.name, None) else _new_name(name, suffix, taken))
        taken.add(names[-1])
    with atomic_path(folder) as temporary:
        files = zip(images.views, names, strict=True)

        def fill(file: tuple[View, str]) -> None:
            _fill(file[0], temporary / file[1], folder / file[1], grey)

        for _ in map_ordered(fill, files, num_cores(0)):
            pass
        changed = {old: new for old, new in zip(images.names, names, strict=True) if old != new}
        (temporary / _TABLE).write_text(json.dumps(changed, indent=1), encoding="utf-8")
    views = [
        dataclasses.replace(view, name=name, path=folder / name) for view, name in zip(images.views, names, strict=True)
    ]
    return dataclasses.replace(images, root=folder, views=tuple(views))


def _new_suffix(view: View) -> str | None:
    """The extension that the file needs, or None when COLMAP reads it as it is and can write its kind."""
    with naming(view.path), open_image(view.path) as image:
        if _is_readable(image):
            is_fine = PurePosixPath(view.name).suffix.lower() in _WRITABLE_SUFFIXES
            return None if is_fine else _SUFFIX_OF_FORMAT[str(image.format)]
        return ".png" if image.has_transparency_data else ".jpg"


def _is_readable(image: Image.Image) -> bool:
    # OpenImageIO without zstd gives noise instead of an error.
    return image.format in _SUFFIX_OF_FORMAT and image.info.get("compression") != "zstd"


def _new_name(name: str, suffix: str | None, taken: Collection[str]) -> str:
    if suffix is not None:
        short = str(PurePosixPath(name).with_suffix(suffix))
        name = f"{name}{suffix}" if short in taken else short
    while name in taken:
        name = f"_{name}"
    return name


def _fill(view: View, target: Path, earlier: Path, grey: GreyRange | None) -> None:
    """Link the file when its format is readable, write its pixels and EXIF in another format or range otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with naming(view.path), open_image(view.path) as image:
        source_time = view.path.stat().st_mtime_ns
        if grey is not None and has_wide_pixels(image):
            Image.fromarray(stretched(decode(view.path), grey)).save(target, **_tags(image))
        elif _is_readable(image):
            _link(view.path, target)
        elif earlier.is_file() and earlier.stat().st_mtime_ns == source_time:
            _link(earlier, target)
        else:
            pixels = decode(view.path)
            if target.suffix == ".png":
                pixels.convert("RGBA").save(target, **_tags(image))
            else:
                as_rgb(pixels).save(target, quality=_JPEG_QUALITY, **_tags(image))
            os.utime(target, ns=(source_time, source_time))


def _tags(image: Image.Image) -> dict[str, Any]:
    return {"exif": exif_bytes(image), "icc_profile": image.info.get("icc_profile")}


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)
