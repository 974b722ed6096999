"""A stage on standard error: a bar that moves on a terminal, now and then a line elsewhere."""

import contextlib
import sys
import threading
import time
from types import TracebackType

_REFRESH_SECONDS, _LINE_SECONDS = 1.0, 30.0
"""How often a bar moves, so that its clock runs; and how long a log may be silent; chosen by hand."""

_NAME_WIDTH = 8
"""Letters that the names of the chain's stages fit in."""

_PHASE_WIDTH = 24
"""Letters that the names of phases fit in."""

_CLOCK = "{desc} {elapsed}"
_BAR = "{desc} {elapsed} {bar} {n_fmt} of {total_fmt}, {remaining} left"
"""How tqdm shows a phase whose steps are not counted, and one whose steps are."""


class StageDisplay:
    """Shows one stage while it is entered; a thread keeps it moving while the work says nothing."""

    def __init__(self, name: str) -> None:
        from tqdm import tqdm

        self._name = name
        self._phase = ""
        self._started = self._phase_started = time.time()  # the clock of tqdm
        self._done, self._total = 0, 0
        self._is_terminal = sys.stderr.isatty()
        self._bar = tqdm(desc=self._description(), disable=not self._is_terminal, dynamic_ncols=True, bar_format=_CLOCK)
        self._lines_above = contextlib.ExitStack()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def step(self, done: int, total: int) -> None:
        """See `progress.Step`."""
        if done < self._done:
            self._restart()
        self._done, self._total = done, total
        self._bar.total, self._bar.bar_format = total, _BAR
        self._bar.update(done - self._bar.n)

    def phase(self, name: str) -> None:
        """See `progress.phase`."""
        if name == self._phase:
            return
        self._phase = name
        self._restart()

    def _restart(self) -> None:
        self._done, self._total, self._phase_started = 0, 0, time.time()
        self._bar.total, self._bar.bar_format, self._bar.desc = None, _CLOCK, self._description()
        self._bar.reset()

    def _description(self) -> str:
        return f"{self._name:<{_NAME_WIDTH}} {self._phase:<{_PHASE_WIDTH}}"

    def _tick(self) -> None:
        while not self._ended.wait(_REFRESH_SECONDS if self._is_terminal else _LINE_SECONDS):
            if self._is_terminal:
                self._bar.refresh()
            else:
                self._print(self._standing())

    def _standing(self) -> str:
        """Where the stage is, with the time left where its steps tell."""
        now = time.time()
        parts = [self._phase] if self._phase else []
        if self._total:
            parts.append(f"{self._done} of {self._total}")
        parts.append(f"{now - self._started:.0f} s")
        if 0 < self._done < self._total:
            parts.append(f"about {(now - self._phase_started) * (self._total - self._done) / self._done:.0f} s left")
        return ", ".join(parts)

    def _print(self, text: str) -> None:
        print(f"{self._name:<{_NAME_WIDTH}} {text}", file=sys.stderr, flush=True)

    def __enter__(self) -> "StageDisplay":
        if self._is_terminal:
            from tqdm.contrib.logging import logging_redirect_tqdm

            self._lines_above.enter_context(logging_redirect_tqdm())
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._ticker.join()
        if error is None:
            self._phase = ""
            self._bar.desc, self._bar.bar_format, self._bar.start_t = self._description(), _CLOCK, self._started
        self._bar.close()
        self._lines_above.close()
        if not self._is_terminal and error is None:
            self._print(f"{time.time() - self._started:.1f} s")
