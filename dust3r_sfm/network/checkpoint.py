"""Checkpoint files: what they hold, read without running any of it."""

import argparse
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dust3r_sfm.errors import WeightsError
from dust3r_sfm.network.constructor import parse_constructor

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
_HUB_BOOKKEEPING = (
    "_class_name",
    "_name_or_path",
    "architectures",
    "model_type",
    "torch_dtype",
    "transformers_version",
)
# Where torch's long message says what was asked for (a byte that is no pickle instruction is an "Unsupported operand").
_REFUSAL = re.compile(r"(GLOBAL [\w.]+|call reduce for unrecognized \w+|[\w ]*unapproved class[\w .]*|Can only [\w ]+)")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        path: the file with the weights.
        class_name: constructor that made the network.
        keywords: its arguments; None in CroCo files that do not say.
        state: tensors by name.
    """

    path: Path
    class_name: str
    keywords: Mapping[str, Any] | None
    state: Mapping[str, Tensor]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a .pth file, or a folder (or its model.safetensors) in the hub's layout.

    Raises:
        WeightsError: a missing, damaged, refused or foreign file.
    """
    if path.is_dir():
        return _read_folder(path)
    if path.suffix == ".safetensors":
        return _read_folder(path.parent, path.name)
    return _read_pickle(path)


def _read_folder(folder: Path, weights_name: str = WEIGHTS_NAME) -> Checkpoint:
    config_path, weights_path = folder / CONFIG_NAME, folder / weights_name
    for path in (config_path, weights_path):
        if not path.is_file():
            raise WeightsError(
                f"{folder} has no {path.name}; a folder of weights holds {CONFIG_NAME} and {WEIGHTS_NAME}.", path=folder
            )
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{config_path} is not JSON ({error}); download it again.") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{config_path} holds no table of arguments; download it again.")
    keywords = {name: value for name, value in config.items() if name not in _HUB_BOOKKEEPING}
    descriptors = "desc" in str(keywords.get("output_mode", ""))
    try:
        with safe_open(weights_path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{weights_path} is damaged or not a safetensors file ({error}); download it again."
        ) from error
    return Checkpoint(
        path=weights_path,
        class_name="AsymmetricMASt3R" if descriptors else "AsymmetricCroCo3DStereo",
        keywords=keywords,
        state=state,
    )


def _read_pickle(path: Path) -> Checkpoint:
    content = _unpickle(path)
    state = content.get("model") if isinstance(content, Mapping) else None
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items())
    ):
        raise WeightsError(
            f"{path} holds no 'model' with named tensors, so it is no DUSt3R, MASt3R or CroCo checkpoint.", path=path
        )
    if "croco_kwargs" in content:
        return Checkpoint(path=path, class_name="CroCoNet", keywords=_table(content["croco_kwargs"], path), state=state)
    call = getattr(content.get("args"), "model", None)
    if isinstance(call, str):
        class_name, keywords = parse_constructor(call, str(path))
        return Checkpoint(path=path, class_name=class_name, keywords=keywords, state=state)
    if "prediction_head.weight" in state:
        return Checkpoint(path=path, class_name="CroCoNet", keywords=None, state=state)
    raise WeightsError(
        f"{path} does not say how its network is built (no 'args.model'), so it is another program's checkpoint; "
        "use a published DUSt3R, MASt3R or CroCo file.",
        path=path,
    )


def _table(value: object, path: Path) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise WeightsError(f"{path} has 'croco_kwargs' that are no table of arguments; download it again.", path=path)
    return value


def _unpickle(path: Path) -> Any:
    # Memory-mapped where the format allows: the file is larger than what is kept of it when it holds an optimizer.
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path) or None)
    except pickle.UnpicklingError as error:
        reason = _REFUSAL.search(str(error))
        if reason is not None:
            raise WeightsError(
                f"{path} was refused and nothing in it was run: it asks for more than tensors and plain values "
                f"({reason[0]}); use a file from the publisher.",
                path=path,
            ) from error
        raise WeightsError(
            f"{path} is no PyTorch checkpoint, or a damaged one; download it again.", path=path
        ) from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}).", path=path) from error
    except Exception as error:  # torch raises whatever its readers meet in foreign bytes
        raise WeightsError(f"{path} is truncated or no PyTorch checkpoint; download it again.", path=path) from error
