"""All jobs of a data folder; only what is listed here can be asked for."""

import logging
import re
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from dust3r_sfm.errors import InputError
from dust3r_sfm.web.job import INCOMING, Job, Wishes, read_job

logger = logging.getLogger("dust3r_sfm")

_NAME = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")
"""Of a job: when it was made, and something that nobody guesses."""

_LOCK = "server.lock"
"""File that one server holds while it serves a data folder."""


class Jobs:
    """The jobs of a data folder, in the order in which they were made.

    Args:
        folder: data folder; made if it is not there.

    Raises:
        InputError: another server serves the folder.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.lock = threading.RLock()
        self._held = _hold(folder)
        self._jobs = {job.name: job for job in _found(folder)}
        for job in self._jobs.values():
            shutil.rmtree(job.folder / INCOMING, ignore_errors=True)
            if job.state == "running":
                self.change(job, state="queued")

    def all(self) -> list[Job]:
        """Every job."""
        with self.lock:
            return sorted(self._jobs.values(), key=lambda job: job.name)

    def get(self, name: str) -> Job | None:
        """The job of a name, if there is one."""
        with self.lock:
            return self._jobs.get(name)

    def create(self, wishes: Wishes, predict: dict[str, Any]) -> Job:
        """Make a job that waits for its photographs."""
        name = time.strftime("%Y%m%d-%H%M%S-") + uuid4().hex[:8]
        job = Job(folder=self.folder / name, wishes=wishes, predict=predict)
        with self.lock:
            job.save()
            self._jobs[name] = job
        return job

    def change(self, job: Job, **values: Any) -> None:
        """Set attributes of a job, also in its record."""
        with self.lock:
            for name, value in values.items():
                setattr(job, name, value)
            job.save()

    def change_if(self, job: Job, is_fit: Callable[[Job], bool], **values: Any) -> bool:
        """Set attributes of a job, unless it is no longer (or not yet) what somebody took it for."""
        with self.lock:
            if self._jobs.get(job.name) is not job or not is_fit(job):
                return False
            self.change(job, **values)
            return True

    def remove(self, job: Job) -> None:
        """Delete a job with everything in its folder."""
        with self.lock:
            self._jobs.pop(job.name, None)
            shutil.rmtree(job.folder, ignore_errors=True)

    def next_queued(self) -> Job | None:
        """The job that has waited longest."""
        waiting = [job for job in self.all() if job.state == "queued"]
        return min(waiting, key=lambda job: job.queued, default=None)

    def close(self) -> None:
        """Let another server have the folder."""
        if self._held is not None:
            self._held.close()


def _found(folder: Path) -> list[Job]:
    jobs = []
    for path in folder.iterdir():
        if _NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            try:
                jobs.append(read_job(path))
            except (OSError, ValueError, TypeError, KeyError) as error:
                logger.warning("%s holds no job that this version reads (%s); it is left alone.", path, error)
    return jobs


def _hold(folder: Path) -> Any:
    """Open the lock file and lock it, where the system can; a killed server's lock ends with it."""
    file = (folder / _LOCK).open("w")
    with suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise InputError(
                f"Another dust3r-sfm web serves {folder}; stop it, or choose another --folder.", path=folder
            ) from error
    return file
