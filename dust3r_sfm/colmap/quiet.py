"""COLMAP's log, kept off the terminal."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_quiet_lock = threading.Lock()
_quiet_blocks = 0
_level_before = 0


@contextmanager
def quiet() -> Iterator[None]:
    """Keep COLMAP's progress and warnings off the terminal, in all threads, until the last such block ends."""
    from dust3r_sfm._pycolmap import pycolmap

    global _quiet_blocks, _level_before
    with _quiet_lock:
        if _quiet_blocks == 0:
            _level_before = pycolmap.logging.minloglevel
            pycolmap.logging.minloglevel = int(pycolmap.logging.Level.ERROR)
        _quiet_blocks += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_blocks -= 1
            if _quiet_blocks == 0:
                pycolmap.logging.minloglevel = _level_before
