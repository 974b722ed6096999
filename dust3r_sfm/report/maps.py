"""Small pictures of photographs, depths and confidences, as text that a page can hold."""

import base64

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from dust3r_sfm.errors import Dust3rSfmError
from dust3r_sfm.images.load import load_pixels
from dust3r_sfm.types import View

_PERCENTILES = (2.0, 98.0)
_JPEG_QUALITY = 80


def photograph(view: View, width: int) -> UInt8[np.ndarray, "_ _ 3"] | None:
    """The upright photograph in RGB, or None where its file is gone."""
    try:
        return _shrunk(load_pixels(view), width)
    except Dust3rSfmError:
        return None


def depth_picture(depth: Float32[np.ndarray, "_ _"], width: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """Near is red, far is blue, on a logarithmic scale; black where nothing is known."""
    return _coloured(-np.log(np.where(depth > 0, depth, 1)), depth > 0, width, cv2.COLORMAP_TURBO)


def confidence_picture(confidence: Float32[np.ndarray, "_ _"], width: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """Bright is confident, on a logarithmic scale; black where nothing is known."""
    return _coloured(np.log(np.maximum(confidence, 1)), confidence > 1, width, cv2.COLORMAP_VIRIDIS)


def data_uri(pixels: UInt8[np.ndarray, "_ _ 3"], kind: str = "jpeg") -> str:
    """An RGB picture as the address of an `<img>`: "jpeg" for photographs, "png" for drawings."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if kind == "jpeg" else []
    _, data = cv2.imencode(f".{kind}", pixels[..., ::-1], parameters)
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"


def _coloured(
    values: Float32[np.ndarray, "_ _"], known: np.ndarray, width: int, palette: int
) -> UInt8[np.ndarray, "_ _ 3"]:
    shown = np.zeros((*values.shape, 3), np.uint8)
    if known.any():
        low, high = np.percentile(values[known], _PERCENTILES)
        share = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
        shown = cv2.applyColorMap((share * 255).astype(np.uint8), palette)[..., ::-1]
        shown[~known] = 0
    return _shrunk(shown, width)


def _shrunk(pixels: UInt8[np.ndarray, "_ _ 3"], width: int) -> UInt8[np.ndarray, "_ _ 3"]:
    height = max(round(pixels.shape[0] * width / pixels.shape[1]), 1)
    shrunk: UInt8[np.ndarray, "_ _ 3"] = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return shrunk
