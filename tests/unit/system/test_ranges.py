"""Every option that is a number has a range, its default lies inside, and what lies outside is named."""

import dataclasses
from typing import Any, get_type_hints

import pytest

from dust3r_sfm import options
from dust3r_sfm.errors import InputError
from dust3r_sfm.options import ReconstructOptions, RunOptions, TrackOptions
from dust3r_sfm.system.ranges import _RANGES, require_ranges

CLASSES = [kind for kind in vars(options).values() if dataclasses.is_dataclass(kind)]


def test_every_number_has_a_range() -> None:
    numbers = {
        name
        for kind in CLASSES
        for name, hint in get_type_hints(kind).items()
        if hint in (int, float, int | None, float | None)
    }
    assert numbers == set(_RANGES)


@pytest.mark.parametrize("kind", CLASSES)
def test_defaults_are_inside(kind: Any) -> None:
    require_ranges(kind())


@pytest.mark.parametrize(
    ("group", "flag"),
    [
        (RunOptions(seed=-1), "--seed"),
        (RunOptions(seed=2**40), "--seed"),
        (TrackOptions(max_reprojection_error=float("nan")), "--max-reprojection-error"),
        (ReconstructOptions(tracks=TrackOptions(max_points=-5)), "--max-points"),
    ],
)
def test_what_lies_outside_is_named(group: Any, flag: str) -> None:
    with pytest.raises(InputError, match=flag):
        require_ranges(group)
