"""The numbers that options can have; a command asks before it begins, not when hours are spent."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from dust3r_sfm.errors import InputError

_LEAST, _MANY = 1e-9, 10**9

_RANGES: Mapping[str, tuple[float, float]] = {
    "average": (0, 1),
    "batch": (1, _MANY),
    "batch_size": (1, _MANY),
    "confidence_percentile": (0, 100),
    "depth_unit": (_LEAST, _MANY),
    "epochs": (_LEAST, _MANY),
    "fine_size": (0, _MANY),
    "frame_step": (1, _MANY),
    "frames": (2, _MANY),
    "learning_rate": (_LEAST, _MANY),
    "match_stride": (1, _MANY),
    "max_encoded": (0, _MANY),
    "max_matches": (1, _MANY),
    "max_points": (0, _MANY),
    "max_reprojection_error": (_LEAST, _MANY),
    "max_steps": (1, _MANY),
    "min_confidence": (0, 1),
    "min_triangulation_angle": (0, 180),
    "num_loc": (1, _MANY),
    "num_retrieved": (0, _MANY),
    "num_samples": (1, _MANY),
    "num_workers": (0, 4096),
    "pairs_per_epoch": (1, _MANY),
    "ransac_thresh": (_LEAST, _MANY),
    "save_every": (1, _MANY),
    "seed": (0, 2**32 - 1),
    "seed_points": (0, _MANY),
    "window": (1, 100_000),
}
"""Least and largest value of each option that is a number, by its name; of seeds those that NumPy takes."""


def require_ranges(*options: Any) -> None:
    """Refuse numbers that an option cannot have; options of several stages are looked through.

    Raises:
        InputError: one is too small, too large, or NaN: the sentence names it.
    """
    for group in options:
        for item in fields(group):
            value = getattr(group, item.name)
            if is_dataclass(value):
                require_ranges(value)
            elif item.name in _RANGES and value is not None:
                low, high = _RANGES[item.name]
                if not low <= value <= high:
                    flag = item.name.replace("_", "-")
                    raise InputError(f"--{flag} cannot be {value}: give a number from {low:g} to {high:g}.")
