"""What a job says while it works: one JSON object a line.

{"stage": "predict"}            a stage begins
{"phase": "matches"}            the stage goes on with something else, whose steps count from 0
{"done": 3, "total": 28}        steps of the phase
{"ended": "predict"}            the stage is over
{"note": "…"}                   something worth knowing
{"result": {…}}                 what the run came to
{"error": "…"}                  why it ends, in one sentence
"""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any, TextIO

from dust3r_sfm.system.progress import Step, hearing_phases

_STEP_SECONDS = 0.25
"""How often the steps of a phase are told; chosen by hand."""


class EventLines:
    """A `Progress` that writes its events to a stream.

    Args:
        stream: where the lines go; nobody else may write there.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def write(self, **event: Any) -> None:
        """Write one event."""
        with self._lock:
            self._stream.write(json.dumps(event, ensure_ascii=False, default=str) + "\n")
            self._stream.flush()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Step]:
        """See `Progress`."""
        told, last = 0.0, 0

        def step(done: int, total: int) -> None:
            nonlocal told, last
            now = time.monotonic()
            if done == total or done < last or now - told >= _STEP_SECONDS:
                self.write(done=done, total=total)
                told = now
            last = done

        self.write(stage=name)
        with hearing_phases(lambda phase: self.write(phase=phase)):
            yield step
        self.write(ended=name)


class NoteHandler(logging.Handler):
    """Makes notes of what is logged."""

    def __init__(self, events: EventLines) -> None:
        super().__init__(logging.INFO)
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self._events.write(note=record.getMessage())
