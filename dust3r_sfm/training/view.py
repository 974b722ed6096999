"""One photograph with its truth, and the crop of it that a network is shown."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from dust3r_sfm.geometry.pinhole import unproject
from dust3r_sfm.geometry.transforms import apply, invert
from dust3r_sfm.types import Size

_PORTRAIT_RATIO = 1.1
"""Photographs this much taller than wide are portraits; those as near to a square are either, at random: Wang
et al. 2024, released code."""


@dataclass(frozen=True, kw_only=True)
class TrainingView:
    """A photograph whose depth and camera are known.

    Attributes:
        name: for messages.
        pixels: RGB (h, w, 3).
        depth: z of each pixel in the camera's frame, 0 where unknown (h, w).
        intrinsics: pinhole matrix, pixel (0.5, 0.5) the centre of the first pixel.
        cam_from_world: pose (3, 4).
        metric: whether the unit is the metre.
        sky: pixels known to show the sky, or None (h, w).
    """

    name: str
    pixels: UInt8[np.ndarray, "h w 3"]
    depth: Float32[np.ndarray, "h w"]
    intrinsics: Float64[np.ndarray, "3 3"]
    cam_from_world: Float64[np.ndarray, "3 4"]
    metric: bool = False
    sky: Bool[np.ndarray, "h w"] | None = None

    @property
    def size(self) -> Size:
        """(width, height)."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def world_points(self) -> Float64[np.ndarray, "h w 3"]:
        """The pixels as points in the world; meaningless where the depth is unknown."""
        points: Float64[np.ndarray, "h w 3"] = apply(
            invert(self.cam_from_world), unproject(self.depth, self.intrinsics).reshape(-1, 3)
        ).reshape(*self.depth.shape, 3)
        return points


def crop_view(view: TrainingView, size: Size, margin: int, rng: np.random.Generator) -> TrainingView:
    """Cut and scale a photograph to the size a network is trained at, its principal point in the middle.

    Source: the released recipe of DUSt3R (its dataset base class), described in its data section.

    Args:
        view: the photograph.
        size: (width, height) wanted for a landscape photograph; portraits get it turned over.
        margin: the photograph is scaled to up to so many pixels more on each side before the middle is cut out.
        rng: draws the margin, and the orientation of photographs that are nearly square.

    Raises:
        ValueError: the principal point lies outside the photograph.
    """
    view = _centred(view)
    width, height = view.size
    portrait = height > _PORTRAIT_RATIO * width
    if not portrait and height / width > 0.9 and size[0] != size[1]:
        portrait = bool(rng.integers(2))
    target = np.array(size[::-1] if portrait else size)
    wanted = target + (rng.integers(margin) if margin > 1 else 0)
    factor = float((wanted / view.size).max()) + 1e-8
    resized = np.floor(np.array(view.size) * factor).astype(int)
    view = _resized(view, (int(resized[0]), int(resized[1])))
    left, top = (resized - target) // 2
    return _cut(view, int(left), int(top), (int(target[0]), int(target[1])))


def _centred(view: TrainingView) -> TrainingView:
    """The largest part around the principal point, which then is its middle."""
    width, height = view.size
    x, y = np.round(view.intrinsics[:2, 2]).astype(int).tolist()
    half_width, half_height = min(x, width - x), min(y, height - y)
    if half_width < 1 or half_height < 1:
        raise ValueError(f"the principal point of {view.name} lies outside the picture")
    return _cut(view, x - half_width, y - half_height, (2 * half_width, 2 * half_height))


def _cut(view: TrainingView, left: int, top: int, size: Size) -> TrainingView:
    rows, columns = slice(top, top + size[1]), slice(left, left + size[0])
    moved = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]])
    return _through(view, lambda values: values[rows, columns], lambda values: values[rows, columns], moved)


def _resized(view: TrainingView, size: Size) -> TrainingView:
    """Lanczos when shrinking, bicubic when growing; the nearest depth, since a mean of two surfaces is on neither."""
    import cv2
    from PIL import Image

    scale = np.array(size) / view.size
    filter_ = Image.Resampling.LANCZOS if scale.max() < 1 else Image.Resampling.BICUBIC

    def pixels(values: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(values).resize(size, filter_))

    def nearest(values: np.ndarray) -> np.ndarray:
        if values.dtype == bool:
            return nearest(values.astype(np.uint8)).astype(bool)
        return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_NEAREST_EXACT))

    return _through(view, pixels, nearest, np.diag([*scale, 1.0]))


def _through(
    view: TrainingView,
    colours: Callable[[np.ndarray], np.ndarray],
    values: Callable[[np.ndarray], np.ndarray],
    new_from_old: Float64[np.ndarray, "3 3"],
) -> TrainingView:
    return replace(
        view,
        pixels=colours(view.pixels),
        depth=values(view.depth),
        sky=None if view.sky is None else values(view.sky),
        intrinsics=new_from_old @ view.intrinsics,
    )
