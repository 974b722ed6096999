"""What networks that find and match local features have in common: pictures in, features in raw pixels out."""

import math
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from dust3r_sfm.errors import InputError
from dust3r_sfm.features.features import Features, usable_rows
from dust3r_sfm.features.matcher import RowMatches
from dust3r_sfm.geometry.grid import network_from_raw, raw_from_network
from dust3r_sfm.images.load import load_mask, load_pixels
from dust3r_sfm.images.resize import on_grid
from dust3r_sfm.types import View

_MIN_SIDE_NETWORK_PX = 64
"""Shorter side of the picture that a network sees at least: smaller ones are enlarged. Chosen by hand."""

_MAX_MATCHED = 4096
"""Keypoints of a photograph that are matched at most, the strongest: memory grows with their square. Chosen by hand."""


class LightGlueMatcher:
    """Base of matchers that end in LightGlue; a subclass makes both networks and finds keypoints in a picture.

    Attributes:
        descriptor_size: length of the descriptors.
        long_side: pixels that photographs are shrunk to.
        num_keypoints: of a photograph at most.
    """

    name: str
    descriptor_size: int
    long_side: int
    num_keypoints: int

    def __init__(self, weights: Path | None = None, device: str = "cpu") -> None:
        """
        Args:
            weights: folder of the user's own files, named as the published ones.
            device: of the networks, see `choose_device`.
        """
        self.weights, self._device = weights, device

    def check(self) -> None:
        """Load the networks, once."""
        _ = self._networks

    @cached_property
    def _networks(self) -> tuple[Any, Any]:
        from dust3r_sfm.system.device import choose_device

        self._device = str(choose_device(self._device))
        extractor, matcher = self._load()
        return extractor.eval().to(self._device), matcher.eval().to(self._device)

    def _load(self) -> tuple[Any, Any]:
        """Make and fill the extractor and the matcher."""
        raise NotImplementedError

    def _find(self, extractor: Any, picture: Any) -> tuple[Any, Any, Any]:
        """Keypoints of a picture (1, 3, h, w) of values in [0, 1].

        Returns:
            Positions (k, 2) in its pixels, descriptors (k, d) and scores (k,).
        """
        raise NotImplementedError

    def extract(self, view: View, long_side: int | None = None) -> Features:
        """See `FeatureMatcher`; the strongest keypoints come first."""
        import torch

        extractor = self._networks[0]
        seen = _upright(view, long_side or min(self.long_side, max(view.size)))
        pixels = torch.from_numpy(load_pixels(seen)).to(self._device)
        with torch.inference_mode():
            found = self._find(extractor, pixels.permute(2, 0, 1)[None].float() / 255)
        xy, descriptors, scores = (np.asarray(part.cpu().numpy(), np.float32) for part in found)
        xy = xy.astype(np.float64)
        rows = usable_rows(xy, load_mask(seen))
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        raw = raw_from_network(seen.network_from_image, xy)
        return Features(xy=raw, descriptors=descriptors, scores=scores).of(rows)

    def match(self, features1: Features, features2: Features, view1: View, view2: View) -> RowMatches:
        """Match two photographs, turned upright as EXIF says; LightGlue stops early and drops points on its way."""
        import torch

        if min(len(features1.xy), len(features2.xy)) == 0:
            return np.zeros((0, 2), np.int64), np.zeros(0)
        rows1, rows2 = _strongest(features1.scores), _strongest(features2.scores)
        matcher = self._networks[1]
        with torch.inference_mode():
            found = matcher(
                {
                    "image0": self._as_input(features1.of(rows1), view1),
                    "image1": self._as_input(features2.of(rows2), view2),
                }
            )
        matched, scores = found["matches"][0].cpu().numpy(), found["scores"][0].cpu().numpy()
        rows = np.column_stack([rows1[matched[:, 0]], rows2[matched[:, 1]]])
        return rows.astype(np.int64), scores.astype(np.float64)

    def _as_input(self, features: Features, view: View) -> dict[str, Any]:
        import torch

        kind, length = features.descriptors.dtype, features.descriptors.shape[1]
        if length != self.descriptor_size or not np.issubdtype(kind, np.floating):
            has = f"descriptors of {length} × {kind}" if length else "no descriptors"
            raise InputError(
                f"The features of {view.name} have {has} where {self.name} needs {self.descriptor_size} × float32; "
                "extract them with it."
            )
        seen = _upright(view, max(view.size))
        size = np.array(seen.network_size, np.float32)
        # LightGlue counts from the middle of the first pixel.
        upright = np.clip(network_from_raw(seen.network_from_image, features.xy) - 0.5, 0, size - 1)
        return {
            "keypoints": torch.from_numpy(upright.astype(np.float32))[None].to(self._device),
            "descriptors": torch.from_numpy(features.descriptors.astype(np.float32))[None].to(self._device),
            "image_size": torch.from_numpy(size)[None].to(self._device),
        }


def renamed_lightglue(state: Mapping[str, Any]) -> dict[str, Any]:
    """The published weights of LightGlue under the names of kornia's layers."""
    pattern = re.compile(r"(self_attn|cross_attn)\.(\d+)\.")
    return {pattern.sub(r"transformers.\2.\1.", name, count=1): value for name, value in state.items()}


def _upright(view: View, long_side: int) -> View:
    """The whole photograph upright, its longer side of so many pixels, or more where the shorter would be too small."""
    shorter, longer = sorted(view.size)
    return on_grid(view, max(long_side, math.ceil(_MIN_SIDE_NETWORK_PX * longer / shorter)))


def _strongest(scores: Float32[np.ndarray, " k"]) -> Int64[np.ndarray, " r"]:
    """The keypoints that are matched, in their order."""
    return np.sort(np.argsort(-scores, kind="stable")[:_MAX_MATCHED])
