"""Jobs, one after the other, each in a process of its own."""

import contextlib
import json
import logging
import subprocess
import sys
import threading
import time
from typing import Any

from dust3r_sfm.web.job import LOG, Job
from dust3r_sfm.web.jobs import Jobs
from dust3r_sfm.web.standing import Standing

logger = logging.getLogger("dust3r_sfm")

WORKER = (sys.executable, "-m", "dust3r_sfm.web.worker")
"""The command that does the job of a folder, which is its argument."""

_PATIENCE_SECONDS = 10.0
"""How long a process may take to end before it is killed; chosen by hand."""


class Runner:
    """Works off the queue in a thread."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._wake = threading.Event()
        self._is_stopping = False
        self._at_work: Job | None = None
        self._process: subprocess.Popen[str] | None = None
        self._standing: Standing | None = None
        self._thread = threading.Thread(target=self._serve, name="runner", daemon=True)

    def start(self) -> None:
        """Begin; also with what an earlier server left."""
        self._thread.start()

    def stop(self) -> None:
        """End; the job at work stays as one that the next server goes on with."""
        self._is_stopping = True
        self._wake.set()
        self._end_process()
        self._thread.join()

    def standing(self, job: Job) -> dict[str, Any] | None:
        """Where a job stands, if it is at work."""
        standing = self._standing
        return standing.as_json() if standing is not None and self._at_work is job else None

    def enqueue(self, job: Job) -> bool:
        """Let a job run when its turn comes; False when it runs or waits already."""
        may_run = ("receiving", "cancelled", "failed")
        queued = self._jobs.change_if(
            job, lambda job: job.state in may_run, state="queued", queued=time.time(), sentence=""
        )
        self._wake.set()
        return queued

    def cancel(self, job: Job) -> bool:
        """End a job, or take it out of the queue; what it has done stays. False when there is nothing to end."""
        if not self._jobs.change_if(job, lambda job: job.state in ("queued", "running"), state="cancelled"):
            return False
        if self._at_work is job:
            self._end_process()
        return True

    def is_at_work(self, job: Job) -> bool:
        """Whether a process may still write into the folder of a job."""
        return self._at_work is job

    def _serve(self) -> None:
        while not self._is_stopping:
            self._wake.clear()
            job = self._jobs.next_queued()
            if job is None:
                self._wake.wait()
                continue
            self._at_work, self._standing = job, Standing(dense=job.wishes.dense)
            try:
                if self._jobs.change_if(job, lambda job: job.state == "queued", state="running"):
                    self._run(job, self._standing)
            except Exception as error:  # the queue goes on, whatever became of one job
                logger.exception("The job %s could not be run.", job.name)
                self._finish(job, state="failed", sentence=f"The job could not be run: {error}.")
            finally:
                self._at_work = self._standing = self._process = None

    def _run(self, job: Job, standing: Standing) -> None:
        outcome: dict[str, Any] = {}
        command = [*WORKER, str(job.folder)]
        with (
            (job.folder / LOG).open("a", encoding="utf-8") as log,
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8"
            ) as process,
        ):
            self._process = process
            if self._is_stopping or job.state != "running":  # cancelled before there was a process to end
                self._end_process()
            assert process.stdout is not None
            for line in process.stdout:
                event = json.loads(line)
                standing.take(event)
                outcome.update({key: event[key] for key in ("result", "error") if key in event})
        if self._is_stopping:
            return
        if process.returncode == 0 and "result" in outcome:
            self._finish(job, state="done", result=outcome["result"])
            return
        ended = f"The run ended unexpectedly (exit code {process.returncode}); {LOG} of {job.name} says more."
        self._finish(job, state="failed", sentence=outcome.get("error", ended))

    def _finish(self, job: Job, **values: Any) -> None:
        """Say how a job ended, unless it was cancelled meanwhile."""
        self._jobs.change_if(job, lambda job: job.state == "running", **values)

    def _end_process(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_SECONDS)
            return
        process.kill()
