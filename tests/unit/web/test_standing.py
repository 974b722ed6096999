"""The time that is left, from the time that phases took."""

import pytest

from dust3r_sfm.web.forecast import PERCENT, is_after
from dust3r_sfm.web.standing import Standing


class Clock:
    """Stands still until it is moved."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def run(standing, clock, phases, scale=1.0):
    """Go through phases of the table, each `scale` seconds a percent; yield what is shown in the middle of each."""
    stage = ""
    for one in phases:
        if one[0] != stage:
            if stage:
                standing.take({"ended": stage})
            stage = one[0]
            standing.take({"stage": stage})
        if one[1]:
            standing.take({"phase": one[1]})
        clock.seconds += PERCENT[one] * scale / 2
        yield one, standing.as_json()
        clock.seconds += PERCENT[one] * scale / 2
        standing.take({"done": 1, "total": 1})


def test_a_run_as_usual_is_foretold():
    clock = Clock()
    standing = Standing(clock=clock)
    total = 3.0 * sum(PERCENT.values())
    last = 0.0
    shown = [one for _, one in run(standing, clock, PERCENT, 3.0)]
    assert shown[0]["seconds_left"] is None
    for one in shown[4:]:
        assert one["seconds"] + one["seconds_left"] == pytest.approx(total, rel=0.05)
        assert one["share"] >= last
        last = one["share"]


def test_a_resumed_run_is_foretold_by_what_it_does():
    """Stages that an earlier server finished are passed over in no time."""
    clock = Clock()
    standing = Standing(clock=clock)
    phases = [one for one in PERCENT if one[0] in ("images", "export", "fuse", "mesh", "formats", "viewer")]
    total = sum(PERCENT[one] for one in phases)
    for one, shown in run(standing, clock, phases):
        if one == ("export", "camera model"):
            assert shown["seconds"] + shown["seconds_left"] == pytest.approx(total, rel=0.05)


def test_without_a_dense_cloud_less_is_left():
    lefts = []
    for dense in (True, False):
        clock = Clock()
        shown = [one for _, one in run(Standing(dense=dense, clock=clock), clock, list(PERCENT)[:12])]
        lefts.append(shown[-1]["seconds_left"])
    assert lefts[0] - lefts[1] == pytest.approx(PERCENT["fuse", ""] + PERCENT["mesh", ""])


def test_steps_tell_how_much_of_a_phase_is_left():
    clock = Clock()
    standing = Standing(clock=clock)
    list(run(standing, clock, list(PERCENT)[:8]))
    standing.take({"phase": "pointmaps"})
    standing.take({"done": 0, "total": 4})
    before = standing.as_json()["seconds_left"]
    clock.seconds += 400  # a slow one
    standing.take({"done": 1, "total": 4})
    slow = standing.as_json()
    assert slow["seconds_left"] == pytest.approx(before - PERCENT["predict", "pointmaps"] + 1200)
    standing.take({"done": 1, "total": 9})
    standing.take({"done": 0, "total": 2})  # counts from the start again
    assert standing.as_json()["done"] == 0


def test_unknown_phases_are_passed_over():
    assert is_after(("export", "matches"), ("predict", "something new"))
    assert not is_after(("predict", "matches"), ("export", "something new"))
    clock = Clock()
    standing = Standing(clock=clock)
    list(run(standing, clock, list(PERCENT)[:6]))
    before = standing.as_json()["seconds_left"]
    standing.take({"phase": "something new"})
    clock.seconds += 100
    assert standing.as_json()["phase"] == "something new"
    assert standing.as_json()["seconds_left"] <= before


def test_notes_are_kept_short():
    standing = Standing()
    for number in range(100):
        standing.take({"note": str(number)})
    assert standing.as_json()["notes"][-1] == "99"
    assert len(standing.as_json()["notes"]) == 20
