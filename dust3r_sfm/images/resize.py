"""From the file's pixel grid to the network's: upright turn, resize and centre crop as one exact homogeneous map."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.errors import ImageError
from dust3r_sfm.types import Size, View

_MIN_SIDE_NETWORK_PX = 16
"""A network picture with a shorter side holds less than one patch of DUSt3R."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The pixel grid a predictor wants to see. `Grid(size=512, multiple_of=16, square_ok=False)` is DUSt3R-512's,
    `Grid(size=224, multiple_of=16, square_crop=True)` is DUSt3R-224's.

    Attributes:
        size: longer side of the upright picture (with `square_crop` the side of the square).
        multiple_of: both sides are cropped about the centre to multiples of this; 1 crops nothing.
        square_ok: False crops square pictures to 4:3, for networks that never saw a square.
        square_crop: the shorter side is brought to `size` and the centre square is cut out.
    """

    size: int = 512
    multiple_of: int = 1
    square_ok: bool = True
    square_crop: bool = False


DEFAULT_GRID = Grid()


def network_grid(size: Size, orientation: int, grid: Grid) -> tuple[Size, Float64[np.ndarray, "3 3"]]:
    """Lay the network grid over a picture.

    Args:
        size: (width, height) of the raw pixel grid.
        orientation: EXIF orientation, 1 to 8. Rotations (3, 6, 8) are undone; mirrored pictures (2, 4, 5, 7) stay raw.
        grid: what the predictor wants.

    Returns:
        (width, height) of the upright network picture, and the map from raw to network pixels. The pixel centres are
        at +0.5 on both sides. The two axes' scales differ slightly, because each side is rounded by itself.

    Raises:
        ImageError: the picture is so narrow that nothing is left of its shorter side (the message lacks the name).
    """
    upright_from_image = _upright_from_image(size, orientation)
    upright = (size[1], size[0]) if orientation in (6, 8) else size
    resized = _resized(upright, grid)
    left, top, right, bottom = _crop(resized, grid)
    network_size = (right - left, bottom - top)
    if min(network_size) < max(_MIN_SIDE_NETWORK_PX, grid.multiple_of):
        raise ImageError(f"it is too narrow ({size[0]} × {size[1]} pixels): cut a wider part out of it")
    network_from_upright = np.array(
        [[resized[0] / upright[0], 0.0, -left], [0.0, resized[1] / upright[1], -top], [0.0, 0.0, 1.0]]
    )
    return network_size, network_from_upright @ upright_from_image


def on_grid(view: View, long_side: int) -> View:
    """The same photograph on another grid: upright, uncropped, with a longer side of so many pixels."""
    network_size, network_from_image = network_grid(view.size, view.orientation, Grid(size=long_side))
    return replace(view, network_size=network_size, network_from_image=network_from_image)


def _upright_from_image(size: Size, orientation: int) -> Float64[np.ndarray, "3 3"]:
    """Quarter turns that EXIF asks for, as a map of pixel positions."""
    width, height = size
    if orientation == 3:
        return np.array([[-1.0, 0.0, width], [0.0, -1.0, height], [0.0, 0.0, 1.0]])
    if orientation == 6:
        return np.array([[0.0, -1.0, height], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    if orientation == 8:
        return np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, width], [0.0, 0.0, 1.0]])
    return np.eye(3)


def _resized(size: Size, grid: Grid) -> Size:
    longer, shorter = max(size), min(size)
    target = round(grid.size * longer / shorter) if grid.square_crop else grid.size
    return round(size[0] * target / longer), round(size[1] * target / longer)


def _crop(size: Size, grid: Grid) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the part that is kept: symmetric about the (integer) centre."""
    width, height = size
    if grid.square_crop:
        kept_width = kept_height = _floor_to(min(width, height), grid.multiple_of)
    else:
        kept_width = _floor_to(width, grid.multiple_of)
        kept_height = _floor_to(height, grid.multiple_of)
        if width == height and not grid.square_ok:
            kept_height = _floor_to(kept_width * 3 // 4, grid.multiple_of)
    left, top = width // 2 - kept_width // 2, height // 2 - kept_height // 2
    return left, top, left + kept_width, top + kept_height


def _floor_to(value: int, multiple: int) -> int:
    return value // multiple * multiple
