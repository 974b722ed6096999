"""Crops and caps of the two lineages, by set."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Bool

from dust3r_sfm.evaluation.mono_depth import MonoRule

Lineage = Literal["sc-depth", "monst3r"]

_CAPS_METRES = {"nyu": 10.0, "bonn": 10.0, "tum": 10.0, "kitti": 80.0, "ddad": 200.0}
"""Of SC-Depth's test protocol."""
_NEAREST_METRES = 0.1
"""Of SC-Depth's test protocol."""
_BONN_CAP_METRES = 70.0
"""Of MonST3R's evaluation; the other sets have none."""
_GARG_OF_SIZE = (0.40810811, 0.99189189, 0.03594771, 0.96405229)
"""First and last row, first and last column (Garg et al., ECCV 2016)."""
_NYU_CROP = (45, 471, 41, 601)
"""Within the white border of the pictures (Eigen et al. 2014)."""

RULES: Mapping[Lineage, Mapping[str, MonoRule]] = {
    "sc-depth": {
        name: MonoRule(nearest=_NEAREST_METRES, farthest=cap, clamp=True, interpolation="bilinear", weighted=False)
        for name, cap in _CAPS_METRES.items()
    },
    "monst3r": {
        name: MonoRule(nearest=0.0, farthest=cap, clamp=False, interpolation="bicubic", weighted=True)
        for name, cap in (("nyu", float("inf")), ("bonn", _BONN_CAP_METRES), ("kitti", float("inf")))
    },
}
"""By lineage and set; MonST3R has neither TUM nor DDAD."""


def crop(lineage: Lineage, depth_set: str, shape: tuple[int, int]) -> Bool[np.ndarray, "_ _"]:
    """Pixels of a true map of some (height, width) that count."""
    inside = np.ones(shape, bool)
    if lineage == "sc-depth" and depth_set in ("kitti", "nyu"):
        if depth_set == "kitti":
            sides = np.array([shape[0], shape[0], shape[1], shape[1]])
            top, bottom, left, right = (np.array(_GARG_OF_SIZE) * sides).astype(int).tolist()
        else:
            top, bottom, left, right = _NYU_CROP
        inside[:] = False
        inside[top:bottom, left:right] = True
    return inside


def sentence(lineage: Lineage, depth_set: str) -> str:
    """What is done with the maps of a set, for the head of the table."""
    rule = RULES[lineage][depth_set]
    cropped = {"kitti": "Garg's crop", "nyu": "rows 45 to 471, columns 41 to 601"}.get(depth_set, "no crop")
    cap = (
        f"truth between {rule.nearest:g} and {rule.farthest:g} m" if np.isfinite(rule.farthest) else "all of the truth"
    )
    return f"{depth_set}: {cropped if lineage == 'sc-depth' else 'no crop'}, {cap}."
