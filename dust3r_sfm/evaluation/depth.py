"""Depth maps against true ones, as the depth literature counts them.

AbsRel and delta: Eigen et al. 2014, the two figures of DUSt3R's table 2 (Wang et al. 2024; one photograph, scale by the
median). AbsRel and the inlier ratio at 1.03: the robust multi-view depth benchmark (Schröppel et al. 2022), which
also resizes a predicted map to the true one's pixels first (`depth_in_image` does) and clips it to 0.1 to 100 m.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.pinhole import pixel_grid

_DELTA_RATIO, _INLIER_RATIO = 1.25, 1.03
"""Larger over smaller depth: of the usual δ < 1.25 (Eigen et al. 2014), and of the robust multi-view depth benchmark's
inliers (Schröppel et al. 2022)."""


@dataclass(frozen=True, kw_only=True)
class DepthErrors:
    """How far a depth map is from the truth, over the pixels where both are known.

    Attributes:
        abs_rel: mean |depth - truth| / truth.
        rmse: root mean square of depth - truth, in units of the truth.
        delta1, delta2, delta3: share of pixels with a ratio max(depth / truth, truth / depth) below 1.25, 1.25², 1.25³.
        inliers: share of pixels whose ratio is below 1.03.
        scale: what the predicted depth was multiplied with.
        density: share of the pixels with a truth where a depth was predicted.
        num_pixels: pixels that were compared.
    """

    abs_rel: float
    rmse: float
    delta1: float
    delta2: float
    delta3: float
    inliers: float
    scale: float
    density: float
    num_pixels: int

    def rows(self) -> dict[str, int | float]:
        """Names and values for a table, a JSON file or the terminal; shares in percent."""
        return {
            "AbsRel_%": 100 * self.abs_rel,
            "RMSE": self.rmse,
            "delta1.25_%": 100 * self.delta1,
            "delta1.25^2_%": 100 * self.delta2,
            "delta1.25^3_%": 100 * self.delta3,
            "inliers1.03_%": 100 * self.inliers,
            "scale": self.scale,
            "density_%": 100 * self.density,
            "pixels": self.num_pixels,
        }

    def __str__(self) -> str:
        """The figures as a table of names and rounded values."""
        return "\n".join(f"{name:24} {value:.6g}" for name, value in self.rows().items())


def evaluate_depth(
    depth: Float[np.ndarray, "_ _"],
    truth: Float[np.ndarray, "_ _"],
    valid: Bool[np.ndarray, "_ _"] | None = None,
    scale: Literal["median", "given"] = "median",
) -> DepthErrors:
    """Compare a depth map with the true one, pixel by pixel.

    Args:
        depth: predicted z of each pixel; not finite or not above 0 where unknown.
        truth: the true z, likewise. The two maps have the same pixels: see `depth_in_image`.
        valid: pixels that count, all by default (crops, distance caps and sky are the protocol's business).
        scale: median: the prediction is multiplied with the ratio of the two medians, per map; given: it is left alone,
            for metric predictions.

    Raises:
        InputError: maps of different sizes, or no pixel where both are known.
    """
    if depth.shape != truth.shape or (valid is not None and valid.shape != truth.shape):
        raise InputError(
            f"The depth map has {depth.shape[1]}×{depth.shape[0]} pixels and the truth {truth.shape[1]}×"
            f"{truth.shape[0]}; bring them to the same ones (evaluation.depth.depth_in_image)."
        )
    expected = _is_known(truth) if valid is None else _is_known(truth) & valid
    both = expected & _is_known(depth)
    if not both.any():
        raise InputError("No pixel has both a predicted and a true depth; check the maps and the mask.")
    predicted, true = depth[both].astype(np.float64), truth[both].astype(np.float64)
    factor = float(np.median(true) / np.median(predicted)) if scale == "median" else 1.0
    predicted *= factor
    ratio = np.maximum(predicted / true, true / predicted)
    return DepthErrors(
        abs_rel=float((np.abs(predicted - true) / true).mean()),
        rmse=float(np.sqrt(((predicted - true) ** 2).mean())),
        delta1=float((ratio < _DELTA_RATIO).mean()),
        delta2=float((ratio < _DELTA_RATIO**2).mean()),
        delta3=float((ratio < _DELTA_RATIO**3).mean()),
        inliers=float((ratio < _INLIER_RATIO).mean()),
        scale=factor,
        density=float(both.sum() / expected.sum()),
        num_pixels=int(both.sum()),
    )


def mean_errors(errors: Sequence[DepthErrors]) -> DepthErrors:
    """Average the figures of several maps, each map with the same weight, as both protocols do.

    Raises:
        InputError: no maps.
    """
    if not errors:
        raise InputError("There is no depth map to average over.")
    num_pixels = sum(one.num_pixels for one in errors)
    names = [name for name in vars(errors[0]) if name != "num_pixels"]
    return DepthErrors(
        num_pixels=num_pixels, **{name: float(np.mean([getattr(one, name) for one in errors])) for name in names}
    )


def depth_in_image(
    depth: Float32[np.ndarray, "h w"], network_from_image: Float64[np.ndarray, "3 3"], size: tuple[int, int]
) -> Float32[np.ndarray, "_ _"]:
    """Bring a depth map from the network grid to the pixels of the file, by the nearest neighbour.

    Args:
        depth: on the upright network grid.
        network_from_image: map from raw original to network pixels.
        size: (width, height) of the file's raw pixel grid.

    Returns:
        Depth of each original pixel, of the shape that `size` says; 0 where the network grid does not reach.
    """
    pixels = pixel_grid(size[1], size[0])
    xy = np.floor(pixels @ network_from_image[:2, :2].T + network_from_image[:2, 2]).astype(np.int64)
    column, row = xy[..., 0], xy[..., 1]
    inside = (column >= 0) & (column < depth.shape[1]) & (row >= 0) & (row < depth.shape[0])
    return np.where(inside, depth[np.where(inside, row, 0), np.where(inside, column, 0)], np.float32(0))


def _is_known(depth: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    known: Bool[np.ndarray, "h w"] = np.isfinite(depth) & (depth > 0)
    return known
