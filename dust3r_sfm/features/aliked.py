"""ALIKED keypoints (Zhao et al. 2023) matched by LightGlue (Lindenberger et al. 2023), by the networks of kornia."""

from pathlib import Path
from typing import Any

import numpy as np

from dust3r_sfm.features.features import Features
from dust3r_sfm.features.learned import LightGlueMatcher, picture_of, raw_features, renamed_lightglue
from dust3r_sfm.features.published import ALIKED_LIGHTGLUE, ALIKED_N16ROT
from dust3r_sfm.features.weights import load
from dust3r_sfm.types import View

_LONG_SIDE_PX, _NUM_KEYPOINTS = 1024, 1024
"""Size that photographs are shrunk to, and keypoints of each: half the keypoints of LightGlue's tables match in half
the time. Measured: ../shared/reference/learned-matching.md."""


class AlikedLightGlue(LightGlueMatcher):
    """ALIKED (n16rot, made to bear turned cameras) and LightGlue: wide baselines, other seasons, other cameras."""

    name = "aliked-lightglue"
    licence = "BSD-3-Clause (ALIKED), Apache-2.0 (LightGlue)"
    files = (ALIKED_N16ROT, ALIKED_LIGHTGLUE)
    descriptor_size = 128

    def _load(self, weights: Path | None) -> tuple[Any, Any]:
        import kornia.feature

        extractor = kornia.feature.ALIKED("aliked-n16rot", max_num_keypoints=_NUM_KEYPOINTS, detection_threshold=0.0)
        extractor.load_state_dict(load(ALIKED_N16ROT, weights), strict=False)  # lacks a constant grid only
        matcher = kornia.feature.LightGlue(None, input_dim=self.descriptor_size)
        matcher.load_state_dict(renamed_lightglue(load(ALIKED_LIGHTGLUE, weights)), strict=False)
        return extractor, matcher

    def extract(self, view: View) -> Features:
        import torch

        extractor, _ = self._networks
        pixels, pixels_from_raw, mask = picture_of(view, _LONG_SIDE_PX)
        with torch.inference_mode():
            found = extractor(torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self._device).float() / 255)[0]
        return raw_features(
            found.keypoints.cpu().numpy().astype(np.float64)
            + 0.5,  # the network counts from the middle of the first pixel
            found.descriptors.cpu().numpy(),
            found.keypoint_scores.cpu().numpy(),
            pixels_from_raw,
            mask,
        )
