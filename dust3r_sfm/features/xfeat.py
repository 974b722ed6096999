"""XFeat keypoints matched by LighterGlue (both Potje et al. 2024), by the networks of kornia."""

from collections.abc import Mapping
from typing import Any

from dust3r_sfm.features.learned import LightGlueMatcher, renamed_lightglue
from dust3r_sfm.features.published import XFEAT, XFEAT_LIGHTERGLUE
from dust3r_sfm.features.weights import fill

_CELL_NETWORK_PX = 32
"""The network shrinks pictures to multiples of this."""

_LONG_SIDE_NETWORK_PX, _NUM_KEYPOINTS = 1024, 2048
"""Size that photographs are shrunk to, and keypoints of each: twice ALIKED's, as LighterGlue is smaller. Chosen by
hand."""


class XfeatLighterGlue(LightGlueMatcher):
    """XFeat and LighterGlue: the fastest extraction on a CPU, a little less reach than ALIKED."""

    name = "xfeat-lighterglue"
    licence = "Apache-2.0"
    files = (XFEAT, XFEAT_LIGHTERGLUE)
    descriptor_size = 64
    long_side = _LONG_SIDE_NETWORK_PX
    num_keypoints = _NUM_KEYPOINTS

    def _load(self) -> tuple[Any, Any]:
        import kornia.feature

        extractor = kornia.feature.XFeat(self.num_keypoints)
        fill(extractor.net, XFEAT, self.weights)
        sizes = {name: value for name, value in kornia.feature.LightGlue.features["xfeat"].items() if name != "weights"}
        matcher = kornia.feature.LightGlue(None, **sizes)
        fill(matcher, XFEAT_LIGHTERGLUE, self.weights, _matcher_alone)
        return extractor, matcher

    def _find(self, extractor: Any, picture: Any) -> tuple[Any, Any, Any]:
        found = extractor.detectAndCompute(picture)[0]
        height, width = picture.shape[-2:]
        # Its keypoints are whole pixels of the shrunk picture times the ratio of the sizes: their middles are wanted.
        across, down = (side / max(side // _CELL_NETWORK_PX, 1) / _CELL_NETWORK_PX for side in (width, height))
        middle = found["keypoints"].new_tensor([across / 2, down / 2])
        return found["keypoints"] + middle, found["descriptors"], found["scores"]


def _matcher_alone(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The file holds the extractor a second time."""
    prefix = "matcher."
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return renamed_lightglue(own)
