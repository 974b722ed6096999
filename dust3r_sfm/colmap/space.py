"""A full disk, noticed: pycolmap cuts its files off without a word when no space is left."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

_PROBE_BYTES = 1 << 20
"""More than any buffer that a cut-off file can have left free."""


@contextlib.contextmanager
def noticing_a_full_disk(folder: Path) -> Iterator[None]:
    """Check, after the block and after an error in it, that something can still be written to the folder.

    Raises:
        OSError: when nothing can, naming the folder; `files.atomic_path` and the command line make it a sentence.
    """
    try:
        yield
    finally:
        probe = folder / ".space.tmp"
        try:
            probe.write_bytes(bytes(_PROBE_BYTES))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from error
        finally:
            probe.unlink(missing_ok=True)
