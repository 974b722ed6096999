"""Small pictures, and pictures as text that a page can hold."""

import base64

import cv2
import numpy as np
from jaxtyping import UInt8

from dust3r_sfm.errors import Dust3rSfmError
from dust3r_sfm.images.load import load_pixels
from dust3r_sfm.types import View

_JPEG_QUALITY = 80
"""Good enough for a small picture; chosen by hand."""


def photograph(view: View, width: int) -> UInt8[np.ndarray, "_ _ 3"] | None:
    """The upright photograph in RGB, or None where its file is gone."""
    try:
        return shrunk(load_pixels(view), width)
    except Dust3rSfmError:
        return None


def data_uri(pixels: UInt8[np.ndarray, "_ _ 3"], kind: str = "jpeg") -> str:
    """An RGB picture as the address of an `<img>`: "jpeg" for photographs, "png" for drawings."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if kind == "jpeg" else []
    _, data = cv2.imencode(f".{kind}", pixels[..., ::-1], parameters)
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"


def shrunk(pixels: UInt8[np.ndarray, "_ _ 3"], width: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """A picture of the given width."""
    height = max(round(pixels.shape[0] * width / pixels.shape[1]), 1)
    smaller: UInt8[np.ndarray, "_ _ 3"] = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return smaller
