"""Opening files of any format with Pillow, always on the raw pixel grid and always as 8-bit RGB."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from dust3r_sfm.errors import ImageError
from dust3r_sfm.types import Size

HEIC_SUFFIXES = frozenset({".heic", ".heif"})

_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
"""Decoders that files are offered to (MPO is JPEG's), of dozens that Pillow has: that of EPS runs Ghostscript."""

_UNTURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Complete the errors of this file's functions to a sentence that names the file."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{path} cannot be used: {error}.", name=error.name, path=path) from error


def open_image(path: Path) -> Image.Image:
    """Open a file without decoding it: JPEG, MPO, PNG, TIFF, WebP, BMP or HEIF, whatever its extension says.

    Raises:
        ImageError: the file is not an image, or not one this machine can decode (the message lacks the name).
    """
    has_heif = register_heic()
    if path.exists() and not path.is_file():
        raise ImageError("it is no regular file")
    try:
        return Image.open(path, formats=(*_FORMATS, "HEIF") if has_heif else _FORMATS)
    except Exception as error:  # decoders raise anything on damaged files
        if path.suffix.lower() in HEIC_SUFFIXES and not has_heif:
            raise ImageError("HEIC needs a plugin: pip install dust3r_sfm[heic]") from error
        raise ImageError(_reason(error)) from error


def decode(path: Path, at_least: Size | None = None) -> Image.Image:
    """Decode the first frame on the raw pixel grid, EXIF orientation not applied.

    Args:
        path: the file.
        at_least: JPEG files may come at 1/2, 1/4 or 1/8 of their size, as long as they are this large (raw width,
            height). The decoder then does an eighth of the work, and still reads the file to its end.

    Raises:
        ImageError: the file is damaged, cut short, or not a photograph (the message lacks the name).
    """
    image = open_image(path)
    try:
        if at_least is not None:
            image.draft(None, at_least)
        tag = _orientation_tag(image)
        image.load()
        # Pillow turns TIFF files (alone of all formats) while decoding, and then removes the tag; COLMAP does not turn.
        if tag in _UNTURN and _orientation_tag(image) is None:
            image = image.transpose(_UNTURN[tag])
    except Exception as error:  # decoders raise anything on damaged files
        raise ImageError(_reason(error)) from error
    return image


def as_rgb(image: Image.Image) -> Image.Image:
    """Bring grey, 16-bit, palette, CMYK and transparent pictures to 8-bit RGB; what is transparent becomes white.

    Raises:
        ImageError: floating-point pixels, whose range nobody knows (the message lacks the name).
    """
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        raise ImageError("it holds floating-point pixels: save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):  # 16-bit grey; 32-bit containers hold 16-bit values
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray((values.clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


@functools.cache
def register_heic() -> bool:
    """Teach Pillow HEIC, where `pillow_heif` is installed; return whether it is."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def raw_size(image: Image.Image) -> Size:
    """(width, height) of the file's pixel grid, of an image that is open but not decoded."""
    width, height = image.size
    # Pillow announces the turned size of a TIFF file before it decodes it.
    return (height, width) if image.format == "TIFF" and _orientation_tag(image) in (5, 6, 7, 8) else (width, height)


def _orientation_tag(image: Image.Image) -> int | None:
    """The tag of a TIFF file's own directory; the other formats are never turned and need no answer."""
    tags = getattr(image, "tag_v2", None) if image.format == "TIFF" else None
    return None if tags is None else tags.get(ExifTags.Base.Orientation)


def _reason(error: Exception) -> str:
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, PermissionError):
        return "it may not be read: change its permissions"
    if isinstance(error, FileNotFoundError):
        return "there is no such file (a broken link?)"
    if isinstance(error, Image.DecompressionBombError):
        return "it has more pixels than Pillow decodes safely: save a smaller copy"
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image of a known format, whatever its name says"
    return f"it is damaged or cut short ({error}): copy it again from the camera"
