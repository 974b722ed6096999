"""DISK keypoints (Tyszkiewicz et al. 2020) matched by LightGlue (Lindenberger et al. 2023), by kornia's networks."""

from typing import Any

from dust3r_sfm.features.learned import LightGlueMatcher, renamed_lightglue
from dust3r_sfm.features.published import DISK_DEPTH, DISK_LIGHTGLUE
from dust3r_sfm.features.weights import fill

_LONG_SIDE_NETWORK_PX, _NUM_KEYPOINTS = 1024, 1024
"""Size that photographs are shrunk to, and keypoints of each, as of ALIKED. Chosen by hand."""


class DiskLightGlue(LightGlueMatcher):
    """DISK and LightGlue: many keypoints on buildings, at whole pixels; slower than ALIKED."""

    name = "disk-lightglue"
    licence = "Apache-2.0"
    files = (DISK_DEPTH, DISK_LIGHTGLUE)
    descriptor_size = 128
    long_side = _LONG_SIDE_NETWORK_PX
    num_keypoints = _NUM_KEYPOINTS

    def _load(self) -> tuple[Any, Any]:
        import kornia.feature

        extractor = kornia.feature.DISK()
        fill(extractor, DISK_DEPTH, self.weights, lambda state: state.get("extractor", {}))
        matcher = kornia.feature.LightGlue(None, input_dim=self.descriptor_size)
        fill(matcher, DISK_LIGHTGLUE, self.weights, renamed_lightglue)
        return extractor, matcher

    def _find(self, extractor: Any, picture: Any) -> tuple[Any, Any, Any]:
        found = extractor(picture, self.num_keypoints, pad_if_not_divisible=True)[0]
        # It counts from the middle of the first pixel.
        return found.keypoints + 0.5, found.descriptors, found.detection_scores
