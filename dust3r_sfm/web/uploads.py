"""Files that are dropped: streamed to disk within limits, looked at, and given a name that COLMAP can hold."""

import hashlib
import re
import shutil
import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import uuid4

from anyio.to_thread import run_sync

from dust3r_sfm.errors import Dust3rSfmError, ImageError
from dust3r_sfm.images import find, video
from dust3r_sfm.images.decode import as_rgb, decode
from dust3r_sfm.web.job import INCOMING, PHOTOGRAPHS, VIDEOS, Dropped, Job
from dust3r_sfm.web.jobs import Jobs

_MAX_NAME_BYTES = 120
"""Of a file, so that everything that a run makes of it still has a name that file systems take; chosen by hand."""

_SPARE_BYTES = 1 << 30
"""Room that an upload leaves on the disk, for the model; chosen by hand."""

_VIDEO_MARKS = (
    (4, (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),
    (0, (b"RIFF", b"\x1aE\xdf\xa3")),
)
"""First bytes of MP4 and QuickTime, AVI, and Matroska and WebM; a playlist that names other files has none of them."""


class Refused(Exception):
    """A file that is not taken: a sentence for the page, and the status of the answer."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of one job.

    Attributes:
        size: bytes of all its files.
        num_files: how many.
    """

    size: int = 2_000_000_000
    num_files: int = 1000

    def too_large(self) -> str:
        """The sentence for more bytes."""
        return (
            f"This is more than the {self.size / 1e9:g} GB that one model takes here; leave some out, or start the "
            "server with a larger --max-gigabytes."
        )

    def too_many(self) -> str:
        """The sentence for more files."""
        return (
            f"This is more than the {self.num_files} files that one model takes here; leave some out, or start the "
            "server with a larger --max-files."
        )


async def receive(
    jobs: Jobs, job: Job, given_name: str, content: AsyncIterator[bytes], announced: int | None, limits: Limits
) -> Dropped:
    """Take one file of a job.

    Args:
        jobs: all jobs.
        job: which waits for its photographs.
        given_name: as the browser says.
        content: chunks of bytes.
        announced: bytes that will come, where that is said beforehand.
        limits: of the job.

    Raises:
        Refused: it is not taken; nothing of it is kept.
    """
    if job.state != "receiving":
        raise Refused("This job has begun already; drop the photographs again to make another one.", 409)
    if len(job.files) >= limits.num_files:
        raise Refused(limits.too_many(), 413)
    if announced is not None and job.size + announced > limits.size:
        raise Refused(limits.too_large(), 413)
    if announced is not None and announced + _SPARE_BYTES > shutil.disk_usage(job.folder).free:
        raise Refused("The disk of the server has no room for this; free some space, then drop it again.", 507)
    name = safe_name(given_name)
    suffix = Path(name).suffix.lower()
    if suffix not in find.SUFFIXES | video.SUFFIXES:
        raise Refused(f"{name} is neither a photograph nor a video that can be read.", 415)
    arrived = job.folder / INCOMING / f"{uuid4().hex}{suffix}"
    try:
        arrived.parent.mkdir(exist_ok=True)
        size, digest = await _stream(content, arrived, job, limits)
        await run_sync(_look_at, arrived, name)
        with jobs.lock:
            return _keep(
                jobs, job, arrived, name, Dropped(name=name, size=size, digest=digest, is_video=_is_video(name)), limits
            )
    except OSError as error:
        raise Refused(f"{name} could not be written on the server ({error.strerror}).", 507) from error
    finally:
        arrived.unlink(missing_ok=True)


def safe_name(given: str) -> str:
    """The name of a file without folders, in characters that every file system and COLMAP's texts can hold.

    Letters of all scripts stay; blanks, at which COLMAP's images.txt ends a name, and what Windows forbids become `_`.
    """
    last = PurePosixPath(given.replace("\\", "/")).name
    kept = "".join(
        character
        for character in unicodedata.normalize("NFC", last)
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn")
    )
    plain = re.sub(r'[\s<>:"|?*%#&;]+', "_", kept).strip("._ ") if kept.strip(". ") else ""
    stem, suffix = Path(plain or "file").stem, Path(plain).suffix
    while len((stem + suffix).encode()) > _MAX_NAME_BYTES and stem:
        stem = stem[:-1]
    return (stem or "file") + suffix[:16]


async def _stream(content: AsyncIterator[bytes], path: Path, job: Job, limits: Limits) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    with path.open("wb") as file:
        async for chunk in content:
            size += len(chunk)
            if job.size + size > limits.size:
                raise Refused(limits.too_large(), 413)
            digest.update(chunk)
            file.write(chunk)
    return size, digest.hexdigest()


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in video.SUFFIXES


def _look_at(path: Path, name: str) -> None:
    """Open a file as a run would, and refuse what it could not use."""
    try:
        if not _is_video(name):
            as_rgb(decode(path, at_least=(1, 1)))
            return
        with path.open("rb") as file:
            start = file.read(16)
        if not any(start[place:].startswith(mark) for place, marks in _VIDEO_MARKS for mark in marks):
            raise ImageError("it is not a video, whatever its name says")
        if next(video.read_video(path), None) is None:
            raise ImageError("it has no frame that OpenCV can read: convert it to MP4")
    except Dust3rSfmError as error:
        reason = "OpenCV cannot read it: convert it to MP4" if str(path) in str(error) else str(error)
        raise Refused(f"{name} was left out: {reason}.", 415) from error


def _keep(jobs: Jobs, job: Job, arrived: Path, name: str, file: Dropped, limits: Limits) -> Dropped:
    """Give a file that is fine its place, once."""
    if job.state != "receiving":
        raise Refused("This job has begun already; drop the photographs again to make another one.", 409)
    if (same := next((one for one in job.files if one.digest == file.digest), None)) is not None:
        if same.name == name:  # sent again after a broken connection
            return same
        raise Refused(f"{name} was left out: it has the same bytes as {same.name}.", 409)
    if len(job.files) >= limits.num_files:
        raise Refused(limits.too_many(), 413)
    if job.size + file.size > limits.size:
        raise Refused(limits.too_large(), 413)
    kept = Dropped(name=_free_name(name, job), size=file.size, digest=file.digest, is_video=file.is_video)
    target = job.folder / (VIDEOS if kept.is_video else PHOTOGRAPHS) / kept.name
    target.parent.mkdir(exist_ok=True)
    arrived.replace(target)
    jobs.change(job, files=[*job.files, kept])
    return kept


def _free_name(name: str, job: Job) -> str:
    """The name, numbered where another file of the job has it, in any case."""
    taken = {file.name.casefold() for file in job.files}
    stem, suffix = Path(name).stem, Path(name).suffix
    tries = (name if number == 1 else f"{stem}-{number}{suffix}" for number in range(1, len(taken) + 2))
    return next(one for one in tries if one.casefold() not in taken)
