"""Signals that ask a program to end: SIGTERM does so as Ctrl-C does, and neither is lost or tears a file."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM)

_received: list[int] = []


def catch() -> None:
    """Let SIGTERM raise `KeyboardInterrupt` as Ctrl-C does; again when a library has put a handler of its own."""
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _interrupt)


def is_caught() -> bool:
    """Whether `catch` is in force."""
    return signal.getsignal(signal.SIGTERM) is _interrupt


def release() -> None:
    """Put back Python's own handlers, and forget what came."""
    _received.clear()
    if is_caught() and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def received() -> int | None:
    """The signal that came since `catch`, if one did."""
    return _received[0] if _received else None


def check() -> None:
    """Raise again what a library has swallowed.

    Raises:
        KeyboardInterrupt: a signal came, and the program still goes on.
    """
    if _received:
        raise KeyboardInterrupt


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let signals wait until the block has ended: libraries that call Python back do not survive an exception there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    before = {number: signal.signal(number, lambda came, frame: waiting.append(came)) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if waiting:
            signal.raise_signal(waiting[0])


def _interrupt(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    raise KeyboardInterrupt
