"""ALIKED keypoints (Zhao et al. 2023) matched by LightGlue (Lindenberger et al. 2023), by the networks of kornia."""

from typing import Any

from dust3r_sfm.features.learned import LightGlueMatcher, renamed_lightglue
from dust3r_sfm.features.published import ALIKED_LIGHTGLUE, ALIKED_N16ROT
from dust3r_sfm.features.weights import fill

_LONG_SIDE_NETWORK_PX, _NUM_KEYPOINTS = 1024, 1024
"""Size that photographs are shrunk to, and keypoints of each: half the keypoints of LightGlue's tables match in half
the time. Chosen by hand."""


class AlikedLightGlue(LightGlueMatcher):
    """ALIKED (n16rot, made to bear turned cameras) and LightGlue: wide baselines, other seasons, other cameras."""

    name = "aliked-lightglue"
    licence = "BSD-3-Clause (ALIKED), Apache-2.0 (LightGlue)"
    files = (ALIKED_N16ROT, ALIKED_LIGHTGLUE)
    descriptor_size = 128
    long_side = _LONG_SIDE_NETWORK_PX
    num_keypoints = _NUM_KEYPOINTS

    def _load(self) -> tuple[Any, Any]:
        import kornia.feature

        extractor = kornia.feature.ALIKED("aliked-n16rot", self.num_keypoints, detection_threshold=0.0)
        fill(extractor, ALIKED_N16ROT, self.weights)
        matcher = kornia.feature.LightGlue(None, input_dim=self.descriptor_size)
        fill(matcher, ALIKED_LIGHTGLUE, self.weights, renamed_lightglue)
        return extractor, matcher

    def _find(self, extractor: Any, picture: Any) -> tuple[Any, Any, Any]:
        found = extractor(picture)[0]
        # It counts from the middle of the first pixel.
        return found.keypoints + 0.5, found.descriptors, found.keypoint_scores
