"""Depth and normal maps in COLMAP's format, from the aligned depth of a scene."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Shaped

from dust3r_sfm.geometry.pinhole import rays
from dust3r_sfm.system.names import path_inside
from dust3r_sfm.types import is_known

_CONFIDENCE_PERCENTILE = 10.0
"""Pixels of an image below this percentile of its confidence are not trusted; chosen by hand."""

_LARGEST_INCIDENCE_DEGREES = 82.0
"""Surfaces seen at a larger angle are the rubber sheets that a smooth depth map spans over its edges; chosen by
hand."""

_LARGEST_BEND_OF_DEPTH = 0.02
"""Inverse depth is affine along a plane: a second difference above this share of it is an edge; chosen by hand."""

_RADIUS_NETWORK_PX = 2
"""Neighbours of a pixel that its normal is fitted to; chosen by hand."""

_SAME_SURFACE_OF_DEPTH = 0.03
"""Inverse depths that differ by this share count for a quarter in a pixel's normal; chosen by hand."""

_MIN_SUPPORT_PX = 6.0
"""Pixels of the same surface, at least, that a normal is fitted to; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class DepthMap:
    """Depth and normals of one image.

    Attributes:
        depth: z of each pixel in the camera's frame, world units; 0 where unknown (h, w).
        normal: unit normals in the camera's frame, towards the camera; 0 where unknown (h, w, 3).
    """

    depth: Float32[np.ndarray, "h w"]
    normal: Float32[np.ndarray, "h w 3"]

    def keep(self, pixels: Bool[np.ndarray, "h w"]) -> "DepthMap":
        """Make all but some pixels unknown."""
        zero = np.float32(0)
        return DepthMap(depth=np.where(pixels, self.depth, zero), normal=np.where(pixels[..., None], self.normal, zero))


def clean_depth(
    depth: Float32[np.ndarray, "h w"], confidence: Float32[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w"]:
    """Set depths of low confidence and at depth edges to 0.

    Args:
        depth: z of each pixel, 0 where unknown.
        confidence: confidence of each depth, 1 where nothing is known.
    """
    known = (depth > 0) & is_known(confidence)
    if known.any():
        known &= confidence >= np.percentile(confidence[known], _CONFIDENCE_PERCENTILE)
    return np.where(known & ~_edges(depth, known), depth, np.float32(0))


def depth_map(depth: Float32[np.ndarray, "h w"], matrix: Float64[np.ndarray, "3 3"]) -> DepthMap:
    """Add normals to a depth map, and drop the pixels that have none or are seen at a grazing angle.

    On a plane inverse depth is an affine function of the pixel, whose gradient gives the normal. It is fitted to the
    neighbours that lie on the same surface.

    Args:
        depth: z of each pixel, 0 where unknown.
        matrix: pinhole matrix of the map.
    """
    known = depth > 0
    inverse = np.where(known, 1.0 / np.where(known, depth, 1), 0).astype(np.float32)
    gradient, fitted = _relative_gradient(inverse, known)
    ray = rays(depth.shape[0], depth.shape[1], matrix).astype(np.float32)
    # n · ray = 1 / z with unit plane offset: its derivatives by the ray's x and y are n's first components.
    slope = gradient * inverse[..., None] * np.float32(matrix[(0, 1), (0, 1)])
    normal = np.concatenate([slope, (inverse - np.sum(slope * ray[..., :2], axis=-1))[..., None]], axis=-1)
    length = np.linalg.norm(normal, axis=-1)
    usable = known & fitted & (length > 0)
    normal = np.where(usable[..., None], -normal / np.where(usable, length, 1)[..., None], 0)
    cosine = -np.sum(normal * ray, axis=-1) / np.linalg.norm(ray, axis=-1)
    usable &= cosine > np.cos(np.radians(_LARGEST_INCIDENCE_DEGREES))
    return DepthMap(
        depth=np.where(usable, depth, 0).astype(np.float32),
        normal=np.where(usable[..., None], normal, 0).astype(np.float32),
    )


def write_depth_map(stereo: Path, name: str, maps: DepthMap) -> None:
    """Write both maps of an image below a workspace's `stereo` folder, as the result of geometric stereo."""
    # Not by pycolmap 4.2, whose NormalMap.from_array mistakes the order of the axes.
    _write_array(path_inside(stereo / "depth_maps", f"{name}.geometric.bin"), maps.depth[None])
    _write_array(path_inside(stereo / "normal_maps", f"{name}.geometric.bin"), np.moveaxis(maps.normal, -1, 0))


def read_depth(stereo: Path, name: str) -> Float32[np.ndarray, "h w"]:
    """Read the depth map of an image, of geometric stereo, from a workspace's `stereo` folder."""
    depth: Float32[np.ndarray, "h w"] = _read_array(stereo / "depth_maps" / f"{name}.geometric.bin")[0]
    return depth


def _write_array(path: Path, planes: Float32[np.ndarray, "c h w"]) -> None:
    """Write COLMAP's array file: width, height and channels as text, then the planes one after the other."""
    channels, height, width = planes.shape
    path.write_bytes(f"{width}&{height}&{channels}&".encode() + planes.astype("<f4").tobytes())


def _read_array(path: Path) -> Float32[np.ndarray, "c h w"]:
    data = path.read_bytes()
    width, height, channels, values = data.split(b"&", 3)
    shape = int(channels), int(height), int(width)
    return np.frombuffer(values, "<f4").reshape(shape).astype(np.float32)


def _edges(depth: Float32[np.ndarray, "h w"], known: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels where inverse depth bends, along a row or a column, more than a surface does."""
    inverse = np.where(known, 1.0 / np.where(known, depth, 1), 0)
    edges = np.zeros(depth.shape, dtype=bool)
    for axis in (0, 1):
        first, middle, last = (_part(inverse, axis, start) for start in range(3))
        all_known = _part(known, axis, 0) & _part(known, axis, 1) & _part(known, axis, 2)
        bend = all_known & (np.abs(first - 2 * middle + last) > _LARGEST_BEND_OF_DEPTH * middle)
        for start in range(3):
            _part(edges, axis, start)[...] |= bend
    return edges


def _part(values: Shaped[np.ndarray, "_ _"], axis: int, start: int) -> Shaped[np.ndarray, "_ _"]:
    """Without the two outermost rows or columns that three shifted copies do not share."""
    length = max(values.shape[axis] - 2, 0)
    window: list[slice] = [slice(None), slice(None)]
    window[axis] = slice(start, start + length)
    return values[tuple(window)]


def _relative_gradient(
    inverse: Float32[np.ndarray, "h w"], known: Bool[np.ndarray, "h w"]
) -> tuple[Float32[np.ndarray, "h w 2"], Bool[np.ndarray, "h w"]]:
    """Gradient of inverse depth by x and y over inverse depth, per pixel, and where it could be fitted."""
    shape, radius = inverse.shape, _RADIUS_NETWORK_PX
    padded, valid = np.pad(inverse, radius), np.pad(known, radius)
    scale = 1.0 / np.where(known, inverse, 1)
    sums = np.zeros((9, *shape), np.float32)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            window = slice(radius + dy, radius + dy + shape[0]), slice(radius + dx, radius + dx + shape[1])
            change = (padded[window] - inverse) * scale
            weight = valid[window] / (1 + (change / _SAME_SURFACE_OF_DEPTH) ** 2) ** 2
            moments = (1, dx, dy, dx * dx, dx * dy, dy * dy, change, change * dx, change * dy)
            for total, moment in zip(sums, moments, strict=True):
                total += weight * moment
    count, x, y, xx, xy, yy, c, cx, cy = sums
    count = np.maximum(count, 1e-6)
    xx, xy, yy = xx - x * x / count, xy - x * y / count, yy - y * y / count
    cx, cy = cx - c * x / count, cy - c * y / count
    determinant = xx * yy - xy * xy
    fitted = known & (count >= _MIN_SUPPORT_PX) & (determinant > 0.1 * (xx + yy) ** 2 / 4)
    determinant = np.where(fitted, determinant, 1)
    gradient = np.stack([yy * cx - xy * cy, xx * cy - xy * cx], axis=-1) / determinant[..., None]
    return gradient.astype(np.float32), fitted
