"""Runs the worker, and begins a new one where a file ended it: by its time, its memory, or a crash."""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A file that did something else than to be read or refused: its number, how it was damaged, and what came."""

    number: int
    how: str
    what: str


def fuzz(seed: int, num_files: int, *, first: int = 0, seconds: float | None = None) -> tuple[int, list[Fault]]:
    """Damage and read files.

    Args:
        seed: of all damage; a file depends on it and on its number alone.
        num_files: how many.
        first: the number of the first.
        seconds: stop after this time.

    Returns:
        How many files were read, and what was wrong.
    """
    number, faults, started = first, [], time.monotonic()
    while number < first + num_files:
        command = [sys.executable, "-m", "tests.fuzz.worker", str(seed), str(number), str(first + num_files)]
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=errors, text=True) as worker,
        ):
            assert worker.stdout is not None
            how, began = "", None
            for line in worker.stdout:
                if not line.startswith("{"):
                    continue  # of a library
                said = json.loads(line)
                if "begin" in said:
                    began, how = said["begin"], said["how"]
                    if seconds is not None and time.monotonic() - started > seconds:
                        worker.kill()
                        return began - first, faults
                elif said["fault"] is not None:
                    faults.append(Fault(number=said["number"], how=said["how"], what=said["fault"]))
            stopped = worker.wait()
            errors.seek(0)
            told = errors.read()
        if stopped == 0:
            break
        if began is None:
            raise RuntimeError(f"The worker did not begin: {told[-2000:]}")
        what = "endless" if "Timeout" in told else f"ended with {stopped}"
        faults.append(Fault(number=began, how=how, what=f"{what}: {told[-600:]}"))
        number = began + 1
    return num_files, faults
