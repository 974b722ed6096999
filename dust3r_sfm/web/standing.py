"""Where a running job stands, from its events: stage, phase, time so far and about how much is left."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from dust3r_sfm.web.forecast import FEW_PERCENT, PERCENT, is_after

_MAX_NOTES = 20
"""Notes that are kept for the page; chosen by hand."""


class Standing:
    """Follows the events of one run; see `events`.

    Args:
        dense: whether a dense cloud and a mesh are made, too.
        clock: seconds from any start.
    """

    def __init__(self, *, dense: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._dense = clock, dense
        self._started = self._phase_started = clock()
        self._stage, self._phase = "", ""
        self._done, self._total = 0, 0
        self._ended: list[str] = []
        self._notes: list[str] = []
        self._seconds: dict[tuple[str, str], float] = {}
        self._share = 0.0

    def take(self, event: Mapping[str, Any]) -> None:
        """Follow one event."""
        if "stage" in event:
            self._enter(event["stage"], "")
        elif "phase" in event:
            if event["phase"] != self._phase:
                self._enter(self._stage, event["phase"])
        elif "done" in event:
            if event["done"] < self._done:
                self._enter(self._stage, self._phase)
            self._done, self._total = event["done"], event["total"]
        elif "ended" in event:
            self._enter(self._stage, "")
            self._ended.append(event["ended"])
        elif "note" in event:
            self._notes = [*self._notes, event["note"]][-_MAX_NOTES:]

    def _enter(self, stage: str, phase: str) -> None:
        now, left = self._clock(), (self._stage, self._phase)
        self._seconds[left] = self._seconds.get(left, 0.0) + now - self._phase_started
        self._stage, self._phase, self._done, self._total, self._phase_started = stage, phase, 0, 0, now

    def as_json(self) -> dict[str, Any]:
        """What the page shows; `share` is of the whole run, 0 where nothing can be said yet."""
        seconds = self._clock() - self._started
        left = self._seconds_left()
        if left is not None:
            self._share = max(self._share, seconds / (seconds + left))
        return {
            "stage": self._stage,
            "phase": self._phase,
            "done": self._done,
            "total": self._total,
            "ended": self._ended,
            "notes": self._notes,
            "seconds": seconds,
            "seconds_left": left,
            "share": self._share,
        }

    def _seconds_left(self) -> float | None:
        """By what finished phases took, and what share of a run they usually are; a resumed run skips some."""
        at_work = (self._stage, self._phase)
        known = {phase: spent for phase, spent in self._seconds.items() if phase in PERCENT and phase != at_work}
        percent = sum(PERCENT[phase] for phase in known)
        if percent < FEW_PERCENT:
            return None
        pace = sum(known.values()) / percent
        later = [one for one in PERCENT if is_after(one, at_work) and (self._dense or one[0] not in ("fuse", "mesh"))]
        return self._phase_left(pace * PERCENT.get(at_work, 0.0)) + pace * sum(PERCENT[one] for one in later)

    def _phase_left(self, expected: float) -> float:
        spent = self._clock() - self._phase_started
        if 0 < self._done <= self._total:
            return spent * (self._total - self._done) / self._done
        return max(expected - spent, 0.0)
