"""What networks that find and match local features have in common: pictures in, features in raw pixels out."""

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from dust3r_sfm.errors import InputError
from dust3r_sfm.features.features import Features
from dust3r_sfm.features.matcher import RowMatches
from dust3r_sfm.geometry.grid import network_from_raw, raw_from_network
from dust3r_sfm.images.load import load_mask, load_pixels
from dust3r_sfm.images.resize import on_grid
from dust3r_sfm.types import View


class LightGlueMatcher:
    """Base of matchers that end in LightGlue; a subclass loads both networks and extracts."""

    name: str
    descriptor_size: int

    def __init__(self, weights: Path | None = None, device: str = "cpu") -> None:
        """
        Args:
            weights: folder of the user's own files, named as the published ones.
            device: of the networks, see `choose_device`.
        """
        self._weights, self._device = weights, device

    def check(self) -> None:
        """Load the networks, once."""
        _ = self._networks

    @cached_property
    def _networks(self) -> tuple[Any, Any]:
        from dust3r_sfm.system.device import choose_device

        self._device = str(choose_device(self._device))
        extractor, matcher = self._load(self._weights)
        return extractor.eval().to(self._device), matcher.eval().to(self._device)

    def _load(self, weights: Path | None) -> tuple[Any, Any]:
        """The extractor and the matcher."""
        raise NotImplementedError

    def match(self, features1: Features, features2: Features, view1: View, view2: View) -> RowMatches:
        """Match two photographs, turned upright as EXIF says; LightGlue stops early and drops points on its way."""
        import torch

        if min(len(features1.xy), len(features2.xy)) == 0:
            return np.zeros((0, 2), np.int64), np.zeros(0)
        with torch.inference_mode():
            found = self._networks[1](
                {"image0": self._as_input(features1, view1), "image1": self._as_input(features2, view2)}
            )
        rows, scores = found["matches"][0].cpu().numpy(), found["scores"][0].cpu().numpy()
        return rows.astype(np.int64), scores.astype(np.float64)

    def _as_input(self, features: Features, view: View) -> dict[str, Any]:
        import torch

        if features.descriptors.shape[1] != self.descriptor_size:
            raise InputError(
                f"The features of {view.name} have descriptors of length {features.descriptors.shape[1]} where "
                f"{self.name} needs {self.descriptor_size}; extract them with it."
            )
        whole = on_grid(view, max(view.size))
        size = np.array(whole.network_size, np.float32)
        # The network counts from the middle of the first pixel.
        upright = np.clip(network_from_raw(whole.network_from_image, features.xy) - 0.5, 0, size - 1)
        return {
            "keypoints": torch.from_numpy(upright.astype(np.float32))[None].to(self._device),
            "descriptors": torch.from_numpy(features.descriptors.astype(np.float32))[None].to(self._device),
            "image_size": torch.from_numpy(size)[None].to(self._device),
        }


def picture_of(
    view: View, long_side: int
) -> tuple[UInt8[np.ndarray, "h w 3"], Float64[np.ndarray, "3 3"], Bool[np.ndarray, "h w"] | None]:
    """Load a photograph upright, its longer side not above a limit.

    Returns:
        RGB pixels, the map from raw pixels to them, and where the photograph may be used (None: everywhere).
    """
    shrunk = on_grid(view, min(long_side, max(view.size)))
    return load_pixels(shrunk), shrunk.network_from_image, load_mask(shrunk)


def raw_features(
    xy: Float64[np.ndarray, "k 2"],
    descriptors: Float32[np.ndarray, "k d"],
    scores: Float32[np.ndarray, " k"],
    pixels_from_raw: Float64[np.ndarray, "3 3"],
    mask: Bool[np.ndarray, "h w"] | None,
) -> Features:
    """Features of a picture as those of its photograph, without what is masked."""
    features = Features(xy=raw_from_network(pixels_from_raw, xy), descriptors=descriptors, scores=scores)
    if mask is None:
        return features
    column, row = np.floor(xy).astype(np.int64).T
    usable = mask[np.clip(row, 0, mask.shape[0] - 1), np.clip(column, 0, mask.shape[1] - 1)]
    return features.of(np.flatnonzero(usable))


def renamed_lightglue(state: Mapping[str, Any]) -> dict[str, Any]:
    """The published weights of LightGlue under the names of kornia's layers."""
    pattern = re.compile(r"(self_attn|cross_attn)\.(\d+)\.")
    return {pattern.sub(r"transformers.\2.\1.", name, count=1): value for name, value in state.items()}
