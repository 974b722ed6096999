"""Dense inverse depth of one photograph from another with a known relative pose: optical flow guided by sparse points.

Flow alone fails on wide baselines. Here the second photograph is first warped by the depth that the sparse matches
suggest, so that the flow (DIS of OpenCV) has only the remainder to find; its result is moved onto the epipolar line,
which turns it into depth, and the round is repeated.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from scipy.spatial import QhullError, cKDTree

_FINEST_SCALES = (1, 0)
"""Finest pyramid level of the flow in each round: half resolution places the warp, full resolution measures. Chosen by
hand."""

_MAX_EPIPOLAR_NETWORK_PX = 2.0
"""Flow further than this from its epipolar line (network pixels) is wrong. Chosen by hand."""

_NUM_NEIGHBOURS = 8
"""Sparse points around a point that it is compared with. Chosen by hand."""

_SEED_STRIDE_NETWORK_PX = 4
"""The sparse points are interpolated on every fourth pixel; what lies between is smooth anyway. Chosen by hand."""

_RANGE_FACTOR = 1.5
"""Depths may leave the range of the sparse points by this factor. Chosen by hand."""

Plane = Float32[np.ndarray, "h w"]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A photograph as the stereo sees it.

    Attributes:
        grey: pixels with the lens' radial distortion removed.
        usable: False where the photograph is masked, or has no pixel.
    """

    grey: UInt8[np.ndarray, "h w"]
    usable: Bool[np.ndarray, "h w"]


@dataclass(frozen=True, kw_only=True)
class FlowDepth:
    """Attributes:
    inverse: inverse depth of each pixel, units of 1 / baseline; positive everywhere, a guess where not `valid`.
    valid: where the flow agrees with the epipolar geometry and a plausible depth.
    epipolar: distance of the flow from the epipolar line, network pixels.
    """

    inverse: Plane
    valid: Bool[np.ndarray, "h w"]
    epipolar: Plane


class EpipolarMap:
    """Where the pixels of image 1 appear in image 2, as a function of their inverse depth.

    Pixel p with inverse depth w appears at the homogeneous point a(p) + w b, a = K2 R K1^-1 p, b = K2 t.
    """

    def __init__(
        self,
        cam2_from_cam1: Float64[np.ndarray, "3 4"],
        matrix1: Float64[np.ndarray, "3 3"],
        matrix2: Float64[np.ndarray, "3 3"],
        shape: tuple[int, int],
    ) -> None:
        infinite = matrix2 @ cam2_from_cam1[:, :3] @ np.linalg.inv(matrix1)
        x, y = np.arange(shape[1]) + 0.5, np.arange(shape[0])[:, None] + 0.5
        self.a = [(row[0] * x + row[1] * y + row[2]).astype(np.float32) for row in infinite]
        self.b = [np.float32(value) for value in matrix2 @ cam2_from_cam1[:, 3]]

    def project(self, inverse: Plane) -> tuple[Plane, Plane, Bool[np.ndarray, "h w"]]:
        """Give x and y in image 2, and where the point lies in front of camera 2."""
        z = self.a[2] + inverse * self.b[2]
        front = z > 1e-6
        z = np.where(front, z, np.float32(1))
        return (self.a[0] + inverse * self.b[0]) / z, (self.a[1] + inverse * self.b[1]) / z, front

    def nearest(self, x: Plane, y: Plane) -> Plane:
        """Give the inverse depth whose epipolar point is nearest to (x, y) (least squares of the cross product)."""
        a0, a1 = x * self.a[2] - self.a[0], y * self.a[2] - self.a[1]
        b0, b1 = self.b[0] - x * self.b[2], self.b[1] - y * self.b[2]
        nearest: np.ndarray = (a0 * b0 + a1 * b1) / np.maximum(b0 * b0 + b1 * b1, np.float32(1e-12))
        return nearest


def flow_depth(
    picture1: Picture,
    picture2: Picture,
    epipolar_map: EpipolarMap,
    seeds: Float64[np.ndarray, "n 2"],
    seed_inverse: Float64[np.ndarray, " n"],
) -> FlowDepth:
    """Measure the inverse depth of picture 1's pixels by flow into picture 2.

    Args:
        picture1, picture2: the photographs, distortion removed.
        epipolar_map: from picture 1 to picture 2.
        seeds: positions of sparse points in picture 1, see `consistent`.
        seed_inverse: their inverse depths, positive.
    """
    low, high = np.percentile(seed_inverse, (2, 98))
    low, high = np.float32(low / _RANGE_FACTOR), np.float32(high * _RANGE_FACTOR)
    inverse = np.clip(_interpolate(seeds, seed_inverse, picture1.grey.shape), low, high)
    height2, width2 = picture2.grey.shape
    valid, distance = np.zeros(inverse.shape, bool), np.zeros_like(inverse)
    columns, rows = np.meshgrid(
        np.arange(inverse.shape[1], dtype=np.float32), np.arange(inverse.shape[0], dtype=np.float32)
    )
    for scale in _FINEST_SCALES:
        x, y, _ = epipolar_map.project(inverse)
        warped = cv2.remap(picture2.grey, x - 0.5, y - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        flow = _optical_flow(picture1.grey, warped, scale)
        at_x, at_y = columns + flow[..., 0], rows + flow[..., 1]
        x = cv2.remap(x, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        y = cv2.remap(y, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        found = epipolar_map.nearest(x, y)
        on_x, on_y, front = epipolar_map.project(found)
        distance = np.hypot(on_x - x, on_y - y)
        inside = (on_x > 0) & (on_x < width2) & (on_y > 0) & (on_y < height2)
        valid = front & inside & (found > low) & (found < high) & (distance < _MAX_EPIPOLAR_NETWORK_PX)
        inverse = cv2.medianBlur(np.where(valid, found, inverse).astype(np.float32), 5)
    seen = cv2.remap(picture2.usable.astype(np.uint8), x - 0.5, y - 0.5, cv2.INTER_NEAREST, borderValue=0) > 0
    return FlowDepth(inverse=inverse, valid=valid & seen & picture1.usable, epipolar=distance)


def return_error(
    depth1: FlowDepth, depth2: FlowDepth, map2_from_1: EpipolarMap, map1_from_2: EpipolarMap
) -> tuple[Plane, Bool[np.ndarray, "h w"]]:
    """Send picture 1's pixels to picture 2 and back by both depths.

    Returns:
        Distance from where they started in network pixels, and where both depths are valid.
    """
    x, y, _ = map2_from_1.project(depth1.inverse)
    back_x, back_y, _ = map1_from_2.project(depth2.inverse)
    back_x = cv2.remap(back_x, x - 0.5, y - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    back_y = cv2.remap(back_y, x - 0.5, y - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    valid2 = cv2.remap(depth2.valid.astype(np.uint8), x - 0.5, y - 0.5, cv2.INTER_NEAREST, borderValue=0) > 0
    height, width = depth1.inverse.shape
    start_x, start_y = np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32)[:, None] + 0.5
    return np.hypot(back_x - start_x, back_y - start_y), depth1.valid & valid2


def _optical_flow(
    grey1: UInt8[np.ndarray, "h w"], grey2: UInt8[np.ndarray, "h w"], finest_scale: int
) -> Float32[np.ndarray, "h w 2"]:
    """DIS flow with a wider patch stride and fewer iterations than its medium preset: as exact here, 40 % faster."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(finest_scale)
    dis.setPatchStride(4)
    dis.setGradientDescentIterations(12)
    dis.setVariationalRefinementIterations(2)
    flow: np.ndarray = dis.calc(grey1, grey2, None)
    return flow


def consistent(
    seeds: Float64[np.ndarray, "n 2"], inverse: Float64[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, "m 2"], Float64[np.ndarray, " m"]]:
    """Drop sparse points whose inverse depth disagrees with their neighbours' median."""
    count = min(_NUM_NEIGHBOURS, len(seeds) - 1)
    _, neighbours = cKDTree(seeds).query(seeds, k=count + 1)
    around = inverse[neighbours[:, 1:]]
    median = np.median(around, axis=1)
    spread = np.median(np.abs(around - median[:, None]), axis=1)
    kept = np.abs(inverse - median) < 4 * spread + 0.1 * median
    return seeds[kept], inverse[kept]


def _interpolate(
    seeds: Float64[np.ndarray, "n 2"], inverse: Float64[np.ndarray, " n"], shape: tuple[int, int]
) -> Plane:
    """Interpolate inverse depth over the picture: linear between the points, nearest outside their hull."""
    height, width = shape
    rows, columns = -(-height // _SEED_STRIDE_NETWORK_PX), -(-width // _SEED_STRIDE_NETWORK_PX)
    x, y = np.meshgrid((np.arange(columns) + 0.5) * width / columns, (np.arange(rows) + 0.5) * height / rows)
    try:
        coarse = LinearNDInterpolator(seeds, inverse)(x, y)
    except QhullError:
        coarse = np.full(x.shape, np.nan)
    outside = np.isnan(coarse)
    coarse[outside] = NearestNDInterpolator(seeds, inverse)(x[outside], y[outside])
    resized: np.ndarray = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return resized
