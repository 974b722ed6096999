"""`python -m dust3r_sfm.web.worker FOLDER`: the process that does one job; the server starts it and hears its events.

It is a process of its own so that a job can be ended at any time; it ends by itself when the server is gone. What it
had finished by then the next one finds in the job's folder.
"""

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dust3r_sfm.errors import Dust3rSfmError
from dust3r_sfm.system.files import as_output_error
from dust3r_sfm.web.events import EventLines, NoteHandler
from dust3r_sfm.web.job import LOG, RUN, VIEWER, Job, read_job


def work(job: Job, events: EventLines) -> dict[str, Any]:
    """Make everything that the page offers of a job.

    Returns:
        What the page says of it: photographs in the model and in all, points, reprojection error in pixels, {name:
        reason} of what was left out, warnings.
    """
    from dust3r_sfm.export import export
    from dust3r_sfm.reconstruct import reconstruct
    from dust3r_sfm.web.scene import write_viewer

    run = job.folder / RUN
    summary = reconstruct(job.photographs(), run, job.options(), progress=events)
    assert summary is not None  # it goes to the end
    dense_note = _dense(run, events) if job.wishes.dense else ""
    export(run, run, formats=("nerfstudio", "ply", "glb"), progress=events)
    with events.stage("viewer"):
        write_viewer(run, job.folder / VIEWER)
    registered = len(summary.registered)
    return {
        "registered": registered,
        "photographs": registered + len(summary.dropped) + sum(len(one["photographs"]) for one in summary.apart),
        "points": summary.num_points,
        "error_px": summary.mean_reprojection_error,
        "left_out": summary.dropped,
        "warnings": [*summary.warnings, *([dense_note] if dense_note else [])],
    }


def _dense(run: Path, events: EventLines) -> str:
    """Fuse and mesh; the model is worth having without, so an error becomes a sentence."""
    from dust3r_sfm.dense.densify import densify

    if (run / "mesh.ply").is_file():
        return ""
    try:
        densify(run, progress=events)
    except Dust3rSfmError as error:
        return f"There is no mesh: {error}"
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the job of a folder; returns 0 when it is done, 1 after an error, which is an event as well."""
    folder = Path((sys.argv[1:] if arguments is None else arguments)[0])
    events = EventLines(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # whatever a library prints goes to the log, not among the events
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    logger = logging.getLogger("dust3r_sfm")
    logger.setLevel(logging.INFO)
    logger.addHandler(NoteHandler(events))
    try:
        events.write(result=work(read_job(folder), events))
    except Exception as error:
        known = as_output_error(error) if isinstance(error, OSError) else error
        if not isinstance(known, Dust3rSfmError):
            traceback.print_exc()
            known = Dust3rSfmError(f"Something unexpected went wrong ({error!r}); {LOG} of {folder.name} says more.")
        events.write(error=str(known).replace(f"{folder}{os.sep}", ""))
        return 1
    return 0


def _end_with_the_server() -> None:
    # It reads until the server's end of the pipe is closed, however that died; not by sys.stdin, whose lock nobody may
    # hold when Python ends.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
