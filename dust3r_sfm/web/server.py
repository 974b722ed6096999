"""The server: the page, and what the page asks for (FastAPI)."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from dust3r_sfm import __version__
from dust3r_sfm.options import PredictorOptions
from dust3r_sfm.web.downloads import DOWNLOADS, archive, available, file_of
from dust3r_sfm.web.gate import DOCUMENT_POLICY, Gate
from dust3r_sfm.web.job import Job, Wishes
from dust3r_sfm.web.jobs import Jobs
from dust3r_sfm.web.runner import Runner
from dust3r_sfm.web.uploads import Limits, Refused, receive

_PAGE = Path(__file__).parent / "page"
_ASSETS = {
    "": "index.html",
    "style.css": "style.css",
    "page.js": "page.js",
    "jobs.js": "jobs.js",
    "icon.svg": "icon.svg",
}
"""Files of the page by their addresses."""

_SHOWN = ("report.html", "viewer.html")
"""Downloads that the page shows in a frame."""

_MAX_FRAMES = 1000
"""Of all videos of a job; chosen by hand."""

_HEARD_OUT_BYTES = 100_000_000
"""Of a refused file; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a server is set up.

    Attributes:
        folder: data folder: a folder for each job.
        host: that it listens on.
        port: likewise.
        token: that everybody needs; None: nobody does.
        limits: of a job.
        predictor: which predictor new jobs use.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8090
    token: str | None = None
    limits: Limits = field(default_factory=Limits)
    predictor: PredictorOptions = field(default_factory=PredictorOptions)


def create_app(settings: Settings) -> FastAPI:
    """Make the application; its jobs run while it is served.

    Raises:
        InputError: another server serves the data folder.
    """
    jobs = Jobs(settings.folder)
    runner = Runner(jobs)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        runner.start()
        try:
            yield
        finally:
            runner.stop()
            jobs.close()

    # No pages of FastAPI's own: they load scripts from elsewhere.
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Gate, host=settings.host, token=settings.token, cookie=f"dust3r_sfm_{settings.port}")
    for kind in (HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _as_sentence)
    _serve_page(app)
    _serve_jobs(app, settings, jobs, runner)
    _serve_results(app, jobs)
    return app


async def _as_sentence(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"sentence": error.detail}, error.status_code)
    return JSONResponse({"sentence": "The page sent something that this version does not understand; reload it."}, 422)


def _job(jobs: Jobs, name: str) -> Job:
    if (job := jobs.get(name)) is None:
        raise HTTPException(404, "There is no such job (any more).")
    return job


def _serve_page(app: FastAPI) -> None:
    @app.get("/{name}")
    @app.get("/")
    def asset(name: str = "") -> FileResponse:
        if name not in _ASSETS:
            raise HTTPException(404, "There is nothing at this address.")
        return FileResponse(_PAGE / _ASSETS[name])


def _serve_jobs(app: FastAPI, settings: Settings, jobs: Jobs, runner: Runner) -> None:
    @app.get("/api/jobs")
    def every() -> dict[str, Any]:
        return {
            "version": __version__,
            "predictor": settings.predictor.predictor,
            "limits": asdict(settings.limits),
            "jobs": [_shown(job, runner) for job in reversed(jobs.all())],
        }

    @app.post("/api/jobs", status_code=201)
    def create(wishes: Wishes) -> dict[str, Any]:
        if wishes.num_frames is not None and not 2 <= wishes.num_frames <= _MAX_FRAMES:
            raise HTTPException(422, f"Frames of a video: a number from 2 to {_MAX_FRAMES}, or nothing.")
        return _shown(jobs.create(wishes, asdict(settings.predictor)), runner)

    @app.put("/api/jobs/{name}/files", status_code=201)
    async def put(name: str, file: str, request: Request) -> dict[str, Any]:
        job = _job(jobs, name)
        length = request.headers.get("content-length", "")
        announced = int(length) if length.isdecimal() else None
        content = request.stream()
        try:
            return asdict(await receive(jobs, job, file, content, announced, settings.limits))
        except Refused as refusal:
            await _drain(content)
            with jobs.lock:
                if jobs.get(name) is job and len(job.refused) < settings.limits.num_files:
                    jobs.change(job, refused=[*job.refused, str(refusal)])
            raise HTTPException(refusal.status, str(refusal)) from refusal

    @app.post("/api/jobs/{name}/start")
    def start(name: str) -> dict[str, Any]:
        job = _job(jobs, name)
        if len(job.files) < 2 and not any(file.is_video for file in job.files):
            raise HTTPException(409, "A model needs at least two overlapping photographs, or a video.")
        if not runner.enqueue(job):
            raise HTTPException(409, "This job runs, waits or is done already.")
        return _shown(job, runner)

    @app.post("/api/jobs/{name}/cancel")
    def cancel(name: str) -> dict[str, Any]:
        job = _job(jobs, name)
        if not runner.cancel(job):
            raise HTTPException(409, "This job neither runs nor waits.")
        return _shown(job, runner)

    @app.delete("/api/jobs/{name}")
    def delete(name: str) -> dict[str, Any]:
        job = _job(jobs, name)
        runner.cancel(job)
        if runner.is_at_work(job):
            raise HTTPException(409, "This job is just ending; try again in a moment.")
        jobs.remove(job)
        return {}


async def _drain(content: AsyncIterator[bytes]) -> None:
    """Hear a refused file out, within reason: browsers read no answer before they have sent all."""
    left = _HEARD_OUT_BYTES
    async for chunk in content:
        left -= len(chunk)
        if left < 0:
            return


def _serve_results(app: FastAPI, jobs: Jobs) -> None:
    @app.get("/jobs/{name}/{file}")
    def result(name: str, file: str, show: bool = False) -> Response:
        job = _job(jobs, name)
        one = next((one for one in available(job) if one.name == file), None)
        if one is None:
            known = any(file == download.name for download in DOWNLOADS)
            raise HTTPException(404, "This is not there yet." if known else "There is nothing at this address.")
        if one.is_archive:
            told = {"Content-Disposition": f'attachment; filename="{one.name}"'}
            return StreamingResponse(archive(job, one), media_type="application/zip", headers=told)
        if show and file in _SHOWN:
            return FileResponse(file_of(job, one), headers={"Content-Security-Policy": DOCUMENT_POLICY})
        return FileResponse(file_of(job, one), filename=one.name, headers={"Content-Security-Policy": DOCUMENT_POLICY})


def _shown(job: Job, runner: Runner) -> dict[str, Any]:
    """What the page knows of a job; no path of the server is among it."""
    return {
        "name": job.name,
        "state": job.state,
        "created": job.created,
        "wishes": asdict(job.wishes),
        "files": sorted(file.name for file in job.files),
        "size": job.size,
        "refused": job.refused,
        "sentence": job.sentence,
        "result": job.result,
        "standing": runner.standing(job),
        "downloads": [{"name": one.name, "says": one.says} for one in available(job)],
    }
