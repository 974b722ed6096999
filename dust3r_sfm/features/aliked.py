"""ALIKED keypoints (Zhao et al. 2023) matched by LightGlue (Lindenberger et al. 2023), by the networks of kornia."""

from typing import Any

from dust3r_sfm.features.learned import LightGlueMatcher, renamed_lightglue
from dust3r_sfm.features.published import ALIKED_LIGHTGLUE, ALIKED_N16ROT
from dust3r_sfm.features.weights import fill


class AlikedLightGlue(LightGlueMatcher):
    """ALIKED (n16rot, made to bear turned cameras) and LightGlue: wide baselines, other seasons, other cameras."""

    name = "aliked-lightglue"
    licence = "BSD-3-Clause (ALIKED), Apache-2.0 (LightGlue)"
    files = (ALIKED_N16ROT, ALIKED_LIGHTGLUE)
    descriptor_size = 128
    long_side = 1024
    num_keypoints = 1024

    def _load(self) -> tuple[Any, Any]:
        import kornia.feature

        extractor = kornia.feature.ALIKED("aliked-n16rot", self.num_keypoints, detection_threshold=0.0)
        fill(extractor, ALIKED_N16ROT, self.weights)
        matcher = kornia.feature.LightGlue(None, input_dim=self.descriptor_size)
        fill(matcher, ALIKED_LIGHTGLUE, self.weights, renamed_lightglue)
        return extractor, matcher

    def _find(self, extractor: Any, picture: Any) -> tuple[Any, Any, Any]:
        found = extractor(picture)[0]
        return (
            found.keypoints + 0.5,
            found.descriptors,
            found.keypoint_scores,
        )  # it counts from the first pixel's middle
