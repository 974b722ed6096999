"""Pixels of a photograph, on the network's grid or on the file's."""

import math

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from dust3r_sfm.errors import ImageError
from dust3r_sfm.images.decode import as_rgb, decode, naming, open_image
from dust3r_sfm.types import View

_DRAFT_OF_NETWORK_SIZE = 2
"""JPEG is decoded at no less than this many times the network's size. Chosen by hand."""


def load_pixels(view: View) -> UInt8[np.ndarray, "h w 3"]:
    """Upright RGB pixels on the network grid: exactly the grid that `view.network_from_image` maps to.

    Lanczos when it shrinks, bicubic when it grows, as DUSt3R does.

    Raises:
        ImageError: the file has been damaged or removed since it was read.
    """
    scale = float(np.abs(view.network_from_image[:2, :2]).sum(axis=0).max())
    resampling = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    at_least = (
        math.ceil(_DRAFT_OF_NETWORK_SIZE * scale * view.size[0]),
        math.ceil(_DRAFT_OF_NETWORK_SIZE * scale * view.size[1]),
    )
    with naming(view.path):
        return _on_network_grid(as_rgb(decode(view.path, at_least)), view, resampling)


def load_original(view: View) -> UInt8[np.ndarray, "h w 3"]:
    """RGB pixels on the file's raw grid, EXIF orientation not applied.

    Raises:
        ImageError: the file has been damaged or removed since it was read.
    """
    with naming(view.path):
        return np.array(as_rgb(decode(view.path)))


def load_mask(view: View) -> Bool[np.ndarray, "h w"] | None:
    """Which network pixels may be used: True where the mask file is not black and the picture is not transparent.

    A network pixel counts as usable when at least half of its area is. None when the whole picture is usable.

    Raises:
        ImageError: the photograph or its mask has been damaged or removed since it was read.
    """
    usable = None
    if view.mask is not None:
        with naming(view.mask):
            usable = _mask_on_network_grid(decode(view.mask).convert("L"), view, black_below=1)
    with naming(view.path):
        if open_image(view.path).has_transparency_data:
            opaque = _mask_on_network_grid(decode(view.path).convert("RGBA").getchannel("A"), view, black_below=128)
            usable = opaque if usable is None else usable & opaque
    return None if usable is None or usable.all() else usable


def _mask_on_network_grid(channel: Image.Image, view: View, black_below: int) -> Bool[np.ndarray, "h w"]:
    binary = channel.point(lambda value: 255 if value >= black_below else 0)
    return _on_network_grid(binary, view, Image.Resampling.BOX) >= 128


def _on_network_grid(image: Image.Image, view: View, resampling: Image.Resampling) -> UInt8[np.ndarray, "h w *c"]:
    """Turn upright, resize and crop a picture that covers the raw grid, at whatever size it was decoded."""
    width, height = view.size
    corners = view.network_from_image[:2] @ np.array([[0.0, width], [0.0, height], [1.0, 1.0]])
    (left, right), (top, bottom) = np.rint(np.sort(corners, axis=1)).astype(int).tolist()
    upright, covered = _upright(image, view)
    # Resizing the part that is kept would be enough, but Pillow then may take its two passes in the other order.
    resized = upright.resize((right - left, bottom - top), resampling, box=covered)
    return np.array(resized.crop((-left, -top, view.network_size[0] - left, view.network_size[1] - top)))


def _upright(image: Image.Image, view: View) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """The picture after the quarter turn inside `network_from_image`, and the box in it that the photograph covers."""
    fraction = _decoded_fraction(image, view)
    width, height = float(image.width), float(image.height)
    right, bottom = view.size[0] * fraction, view.size[1] * fraction
    if view.network_from_image[1, 0] > 0:  # Pillow turns counter-clockwise
        return image.transpose(Image.Transpose.ROTATE_270), (height - bottom, 0.0, height, right)
    if view.network_from_image[1, 0] < 0:
        return image.transpose(Image.Transpose.ROTATE_90), (0.0, width - right, bottom, width)
    if view.network_from_image[0, 0] < 0:
        return image.transpose(Image.Transpose.ROTATE_180), (width - right, height - bottom, width, height)
    return image, (0.0, 0.0, right, bottom)


def _decoded_fraction(image: Image.Image, view: View) -> float:
    """1, or the exact fraction at which a JPEG was decoded (its size is rounded up to whole pixels)."""
    width, height = view.size
    for divisor in (1, 2, 4, 8):
        if image.size == (-(-width // divisor), -(-height // divisor)):
            return 1 / divisor
    raise ImageError(f"it is no longer {width} × {height} pixels large: start again with the photographs as they are")
