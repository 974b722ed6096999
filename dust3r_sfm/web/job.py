"""A job: what somebody dropped, what they asked for, and what became of it, in a folder of its own."""

import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from dust3r_sfm.options import ImageOptions, PairOptions, PredictOptions, ReconstructOptions, VideoOptions
from dust3r_sfm.system.files import write_json
from dust3r_sfm.system.text import read_json

State = Literal["receiving", "queued", "running", "done", "failed", "cancelled"]
"""Of a job; what a killed server leaves running or queued is queued again by the next one."""

FILE = "job.json"
"""The record of a job in its folder."""

PHOTOGRAPHS, VIDEOS, INCOMING, RUN = "photographs", "videos", "incoming", "model"
"""Folders of a job: what was dropped, what is on its way, and the output folder of the run."""

VIEWER, LOG = "viewer.html", "log.txt"
"""Files of a job beside its record: the model to be turned, and what the run said."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the page asks.

    Attributes:
        is_sequence: the photographs follow one another.
        own_cameras: no two photographs share a camera.
        dense: also a dense cloud and a mesh.
        num_frames: of all videos; None: as their motion asks.
    """

    is_sequence: bool = False
    own_cameras: bool = False
    dense: bool = True
    num_frames: int | None = None


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A file that was taken: its name in the job's folder, bytes, and SHA-256."""

    name: str
    size: int
    digest: str
    is_video: bool


@dataclass(kw_only=True)
class Job:
    """A job and its record.

    Attributes:
        folder: holds everything of the job; its name is the job's.
        state: see `State`.
        created: seconds since 1970.
        queued: since when it waits, seconds since 1970; the order of the queue.
        wishes: what the page asked.
        predict: which predictor, as the server was told when the job was made.
        files: what was taken.
        refused: sentences about what was not.
        sentence: why it failed.
        result: what the run came to, see `worker.result`.
    """

    folder: Path
    state: State = "receiving"
    created: float = field(default_factory=time.time)
    queued: float = 0.0
    wishes: Wishes = field(default_factory=Wishes)
    predict: dict[str, Any] = field(default_factory=dict)
    files: list[Dropped] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    sentence: str = ""
    result: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """Of the job, in addresses."""
        return self.folder.name

    @property
    def size(self) -> int:
        """Bytes of everything that was taken."""
        return sum(file.size for file in self.files)

    def as_json(self) -> dict[str, Any]:
        """The record, without the folder."""
        return {name: value for name, value in asdict(self).items() if name != "folder"}

    def save(self) -> None:
        """Write the record."""
        write_json(self.folder / FILE, self.as_json())

    def photographs(self) -> Path | list[Path]:
        """What `reconstruct` is given."""
        videos = [self.folder / VIDEOS / file.name for file in self.files if file.is_video]
        if not videos:
            return self.folder / PHOTOGRAPHS
        return [*videos, self.folder / PHOTOGRAPHS] if len(videos) < len(self.files) else self.folder / VIDEOS

    def options(self) -> ReconstructOptions:
        """The wishes, in the words of the package."""
        return ReconstructOptions(
            images=ImageOptions(camera_sharing="per-image" if self.wishes.own_cameras else "auto"),
            video=VideoOptions(frames=self.wishes.num_frames if any(file.is_video for file in self.files) else None),
            pairs=PairOptions(pairs="sequential" if self.wishes.is_sequence else "auto"),
            predict=PredictOptions(**self.predict),
        )


def read_job(folder: Path) -> Job:
    """Read the record of a job.

    Raises:
        OSError, ValueError, TypeError, KeyError: there is none, or none of this version.
    """
    record = read_json(folder / FILE)
    known = {item.name for item in fields(Job)} - {"folder"}
    given = {name: value for name, value in record.items() if name in known}
    given["wishes"] = Wishes(**given["wishes"])
    given["files"] = [Dropped(**file) for file in given["files"]]
    return Job(folder=folder, **given)
