"""Where a running job stands, from its events: stage, phase, time so far and about how much is left."""

import time
from collections.abc import Mapping
from typing import Any

_MAX_NOTES = 20
"""Notes that are kept for the page; chosen by hand."""


class Standing:
    """Follows the events of one run; see `events`."""

    def __init__(self) -> None:
        self.started = self._phase_started = time.monotonic()
        self.stage, self.phase = "", ""
        self.done, self.total = 0, 0
        self.ended: list[str] = []
        self.notes: list[str] = []

    def take(self, event: Mapping[str, Any]) -> None:
        """Follow one event."""
        if "stage" in event:
            self.stage = event["stage"]
            self._enter("")
        elif "phase" in event:
            if event["phase"] != self.phase:
                self._enter(event["phase"])
        elif "done" in event:
            if event["done"] < self.done:
                self._enter(self.phase)
            self.done, self.total = event["done"], event["total"]
        elif "ended" in event:
            self.ended.append(event["ended"])
        elif "note" in event:
            self.notes = [*self.notes, event["note"]][-_MAX_NOTES:]

    def _enter(self, phase: str) -> None:
        self.phase, self.done, self.total, self._phase_started = phase, 0, 0, time.monotonic()

    def as_json(self) -> dict[str, Any]:
        """What the page shows; seconds."""
        now = time.monotonic()
        left = None
        if 0 < self.done < self.total:
            left = (now - self._phase_started) * (self.total - self.done) / self.done
        return {
            "stage": self.stage,
            "phase": self.phase,
            "done": self.done,
            "total": self.total,
            "ended": self.ended,
            "notes": self.notes,
            "seconds": now - self.started,
            "phase_seconds_left": left,
        }
