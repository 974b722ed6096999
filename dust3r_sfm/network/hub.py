"""Find weights on this machine, or fetch them from the Hugging Face hub."""

import errno
import re
from pathlib import Path

from dust3r_sfm.errors import WeightsError
from dust3r_sfm.network.checkpoint import CONFIG_NAME, WEIGHTS_NAME
from dust3r_sfm.network.names import KNOWN_WEIGHTS, KnownWeights, find_known, weights_folder


def locate(source: str) -> Path:
    """The file or folder that a path, known name or hub id stands for; downloaded where it is not here yet.

    Raises:
        WeightsError: no such file or name, no connection, or no space; the message says which file to put where.
    """
    path = Path(source).expanduser()
    if path.exists():
        return path
    known = find_known(source)
    if known is not None:
        local = weights_folder() / known.file_name
        return local if local.is_file() else _download(known.hub_id, known)
    if (
        re.fullmatch(r"[\w.-]+/[\w.-]+", source)
        and not source.startswith(".")
        and path.suffix not in (".pth", ".safetensors")
    ):
        return _download(source, None)
    raise WeightsError(
        f"There is no weights file '{source}', and it is none of the known names ({', '.join(KNOWN_WEIGHTS)}); "
        "give a .pth file, a folder with config.json and model.safetensors, a hub id or a known name."
    )


def _download(hub_id: str, known: KnownWeights | None) -> Path:
    """Fetch (or resume, or find in the hub's cache) the two files of a repository; return their folder."""
    by_hand = (
        f"download {known.url} to {weights_folder() / known.file_name}"
        if known
        else f"download {CONFIG_NAME} and {WEIGHTS_NAME} of {hub_id} into a folder and give that folder"
    )
    try:
        import huggingface_hub
    except ImportError as error:
        raise WeightsError(
            f"The weights {hub_id} are not on this machine and huggingface_hub is not installed: "
            f"run `pip install 'dust3r_sfm[hub]'`, or {by_hand}."
        ) from error
    try:
        for name in (CONFIG_NAME, WEIGHTS_NAME):
            path = Path(huggingface_hub.hf_hub_download(hub_id, name))
    except Exception as error:  # the hub client passes on the errors of several http libraries
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WeightsError(
                f"The disk is full: the weights {hub_id} do not fit into the hub's cache; free some space or set "
                "HF_HOME to a folder with more room, and run the same command again."
            ) from error
        if type(error).__name__ in ("RepositoryNotFoundError", "EntryNotFoundError", "RemoteEntryNotFoundError"):
            raise WeightsError(
                f"The hub has no repository '{hub_id}' with {CONFIG_NAME} and {WEIGHTS_NAME}; check its name."
            ) from error
        raise WeightsError(
            f"The weights {hub_id} are not on this machine and could not be downloaded ({type(error).__name__}): "
            f"connect to the network and run the same command again, or {by_hand}."
        ) from error
    return path.parent
