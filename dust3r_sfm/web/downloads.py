"""What can be taken from a finished job: a fixed list of files and archives."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dust3r_sfm.web.job import RUN, VIEWER, Job

if TYPE_CHECKING:
    from typing_extensions import Buffer

_CHUNK_BYTES = 1 << 20
"""Read at a time."""

_FAST = 1
"""Of zlib's levels: pictures hardly shrink, and stored entries of unknown length puzzle some readers."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file, or an archive of folders.

    Attributes:
        name: in the address and on the disk of whoever takes it.
        says: what it is, for the page.
        paths: {path in the job's folder: path in the archive}; a single file that is no archive is sent as it is.
    """

    name: str
    says: str
    paths: dict[str, str]

    @property
    def is_archive(self) -> bool:
        """Whether it is made when it is asked for."""
        return self.name.endswith(".zip")


DOWNLOADS = (
    Download(
        name="colmap.zip",
        says="COLMAP: pictures without distortion with their model, and the model of the photographs as taken",
        paths={
            f"{RUN}/dense/images": "images",
            f"{RUN}/dense/masks": "masks",
            f"{RUN}/dense/sparse/0": "sparse/0",
            f"{RUN}/sparse": "as_taken/sparse",
        },
    ),
    Download(
        name="nerfstudio.zip",
        says="transforms.json with its pictures and points (nerfstudio)",
        paths={f"{RUN}/nerfstudio": ""},
    ),
    Download(name="model.glb", says="Points and cameras (GLB)", paths={f"{RUN}/model.glb": ""}),
    Download(name="points.ply", says="Points (PLY)", paths={f"{RUN}/points.ply": ""}),
    Download(name="fused.ply", says="Dense cloud (PLY)", paths={f"{RUN}/fused.ply": ""}),
    Download(name="mesh.ply", says="Mesh (PLY)", paths={f"{RUN}/mesh.ply": ""}),
    Download(name="report.html", says="Report (one file)", paths={f"{RUN}/report.html": ""}),
    Download(name="viewer.html", says="3-D view (one file)", paths={VIEWER: ""}),
)


def available(job: Job) -> list[Download]:
    """What a job has by now; nothing before it is done."""
    if job.state != "done":
        return []
    return [one for one in DOWNLOADS if (job.folder / next(iter(one.paths))).exists()]


def file_of(job: Job, download: Download) -> Path:
    """The file of a download that is no archive."""
    return job.folder / next(iter(download.paths))


def archive(job: Job, download: Download) -> Iterator[bytes]:
    """The bytes of an archive, made as they are taken; nothing is kept on the disk."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=_FAST) as zipped:
        for path, name in _entries(job, download):
            entry = zipfile.ZipInfo.from_file(path, name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with path.open("rb") as source, zipped.open(entry, "w", force_zip64=True) as target:
                while chunk := source.read(_CHUNK_BYTES):
                    target.write(chunk)
                    yield sink.take()
    yield sink.take()


def _entries(job: Job, download: Download) -> Iterator[tuple[Path, str]]:
    inside = job.folder.resolve()
    for start, prefix in download.paths.items():
        for path in sorted((job.folder / start).rglob("*")):
            if path.is_file() and path.resolve().is_relative_to(inside):
                yield path, (Path(prefix) / path.relative_to(job.folder / start)).as_posix()


class _Sink(io.RawIOBase):
    """What a ZipFile writes to: keeps the bytes until they are taken."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def write(self, data: "Buffer") -> int:
        """See `io.RawIOBase`."""
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def take(self) -> bytes:
        """The bytes since the last time."""
        taken, self._parts = b"".join(self._parts), []
        return taken
