"""COLMAP runs under our policy, and the verdicts follow from the rows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.against_colmap import verdicts
from benchmarks.against_colmap_sides import cameras_of, clocked, with_left_out
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import View

LANDSCAPE = View(
    name="",
    path=Path(),
    size=(400, 300),
    orientation=1,
    network_size=(400, 300),
    network_from_image=np.eye(3),
    focal_prior=None,
    camera_group=0,
)


def views(*, portrait: str = "", other_camera: str = "", names: str = "abcdef") -> list[View]:
    return [
        replace(
            LANDSCAPE,
            name=name,
            size=(300, 400) if name in portrait else LANDSCAPE.size,
            camera_group=int(name in other_camera),
        )
        for name in names
    ]


def test_a_photograph_that_was_left_out_shares_the_camera_of_its_group() -> None:
    assert with_left_out([["a", "b"], ["c", "d"]], views(other_camera="cde")) == [["a", "b", "f"], ["c", "d", "e"]]


def test_photographs_of_another_size_do_not_share_its_camera() -> None:
    assert with_left_out([["a", "b", "c", "d"]], views(portrait="ef")) == [["a", "b", "c", "d"], ["e", "f"]]


def test_a_photograph_of_no_known_group_has_a_group_of_its_own() -> None:
    assert with_left_out([["a", "b", "c", "d", "e"]], views(other_camera="f")) == [["a", "b", "c", "d", "e"], ["f"]]


def test_photographs_that_our_run_never_read_have_cameras_of_their_own(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / name).touch()
    assert cameras_of({"groups": [["a", "b"], ["c"]]}, tmp_path) == [
        (["a", "b"], pycolmap.CameraMode.SINGLE),
        (["c", "d"], pycolmap.CameraMode.PER_IMAGE),
    ]


def test_a_clock_adds_the_seconds_of_its_steps() -> None:
    done: list[int] = []
    row = clocked(first=lambda: done.append(1), second=lambda: done.append(2))
    assert done == [1, 2]
    assert row["seconds"] == pytest.approx(sum(row["stages"].values()))
    assert list(row["stages"]) == list(row["cpu_stages"]) == ["first", "second"]


def rows(auc1: float, seconds: float, registered: int) -> list[dict[str, object]]:
    common = {"set": "x", "images": 10, "auc5": 99.0, "ate": 0.1, "cpu_seconds": 1.0}
    ours = {"side": "ours", "auc1": auc1, "seconds": seconds, "registered": registered}
    return [common | ours, common | {"side": "incremental", "auc1": 90.0, "seconds": 10.0, "registered": 9}]


@pytest.mark.parametrize(
    ("auc1", "seconds", "registered", "failed"),
    [(91, 30, 9, 0), (89.5, 30, 10, 1), (88, 30, 9, 2), (91, 31, 9, 1), (91, 30, 8, 1)],
)
def test_verdicts_say_what_the_rows_say(auc1: float, seconds: float, registered: int, failed: int) -> None:
    # 89.5 is within the margin of its set, and below zero in the mean.
    lines = verdicts(rows(auc1, seconds, registered)).splitlines()
    assert len(lines) == 4
    assert sum(line.startswith("FAIL") for line in lines) == failed
