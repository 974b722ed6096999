"""What share of a run each of its phases usually takes."""

PERCENT: dict[tuple[str, str], float] = {
    ("", ""): 2,
    ("frames", ""): 5,
    ("images", "lenses"): 8,
    ("pairs", ""): 2,
    ("predict", "matches"): 4,
    ("predict", "learned matches"): 3,
    ("predict", "focal lengths"): 4,
    ("predict", "poses"): 2,
    ("predict", "pointmaps"): 13,
    ("align", "samples"): 1,
    ("align", "poses"): 1,
    ("align", "depths"): 2,
    ("export", "matches of the pointmaps"): 6,
    ("export", "keypoints"): 20,
    ("export", "matches"): 1,
    ("export", "adjustment"): 4,
    ("export", "camera model"): 4,
    ("export", "photographs left out"): 2,
    ("export", "points"): 2,
    ("export", "dense workspace"): 2,
    ("export", "depth maps"): 3,
    ("fuse", ""): 1,
    ("mesh", ""): 5,
    ("formats", ""): 1,
    ("viewer", ""): 2,
}
"""Percent of a run by stage and phase, in their order; measured: `worker` on 6, 8 and 25 photographs (nle_tower,
strecha_herzjesu_p8, fox_a), two busy cores, rounded, 2026-11-29."""

FEW_PERCENT = 5.0
"""Of a run that tells too little about the rest; chosen by hand."""

_ORDER = {phase: place for place, phase in enumerate(PERCENT)}


def is_after(phase: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether a phase of the table comes after another one, which need not be in it."""
    if other in _ORDER:
        return _ORDER[phase] > _ORDER[other]
    stages = list(dict.fromkeys(stage for stage, _ in PERCENT))
    return other[0] not in stages or stages.index(phase[0]) > stages.index(other[0])
