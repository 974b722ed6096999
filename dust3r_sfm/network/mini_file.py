"""The small network as one file: half precision while it is trained, 8 bits to be passed on."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dust3r_sfm.errors import WeightsError
from dust3r_sfm.network.mini import MiniConfig, MiniNetwork
from dust3r_sfm.system.files import atomic_path, set_default_mode

FILE_NAME = "mini.safetensors"
_FORMAT = "dust3r_sfm mini 1"
_SCALE = ".scale"
_LARGEST_INT8 = 127
_MIN_PACKED_ENTRIES = 4096
"""Entries of a tensor from which 8 bits are worth their rounding: chosen by hand."""


def write_mini(network: MiniNetwork, path: Path, *, int8: bool = False) -> None:
    """Write a network, whole or not at all.

    Args:
        network: what is written.
        path: the file.
        int8: matrices and filters in 8 bits with one scale per output channel, a quarter of float32's size; the rest,
            and everything without it, in half precision.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        stored = value.detach().cpu().float()
        if int8 and stored.ndim >= 2 and stored.numel() >= _MIN_PACKED_ENTRIES:
            scale = stored.flatten(1).abs().amax(1).clamp_min(1e-8) / _LARGEST_INT8
            scale = scale.half().float().clamp_min(torch.finfo(torch.float16).tiny)
            shaped = scale.view(-1, *[1] * (stored.ndim - 1))
            tensors[name] = (stored / shaped).round().clamp(-_LARGEST_INT8, _LARGEST_INT8).to(torch.int8)
            tensors[name + _SCALE] = scale.half()
        else:
            tensors[name] = stored.half().contiguous()
    metadata = {"format": _FORMAT, "config": json.dumps(asdict(network.config))}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        save_file(tensors, str(temporary), metadata=metadata)
        set_default_mode(temporary)


def read_mini(source: str | Path) -> MiniNetwork:
    """Read a network, on the CPU, in evaluation mode and float32, without gradients.

    Args:
        source: the file, or a folder with mini.safetensors.

    Raises:
        WeightsError: no such file, a damaged one, or one of another kind.
    """
    path = locate_mini(source)
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); give the file of a network 'mini'.") from error
    if metadata.get("format") != _FORMAT:
        raise WeightsError(f"{path} holds no network 'mini'; train one with: dust3r-sfm train OUT --preset mini")
    try:
        config = MiniConfig(**json.loads(metadata["config"]))
        with torch.device("meta"):
            network = MiniNetwork(config)
        state = {name: _unpacked(name, tensors) for name in tensors if not name.endswith(_SCALE)}
        network.to_empty(device="cpu").load_state_dict(state)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise WeightsError(f"{path} does not hold the network that it describes ({error}).") from error
    if not all(bool(value.isfinite().all()) for value in state.values()):
        raise WeightsError(f"{path} has values that are no finite numbers; the file is damaged.")
    return network.eval().requires_grad_(False)


def locate_mini(source: str | Path) -> Path:
    """The file behind a path to it or to its folder.

    Raises:
        WeightsError: there is none.
    """
    path = Path(source).expanduser()
    path = path / FILE_NAME if path.is_dir() else path
    if not path.is_file():
        raise WeightsError(
            f"There is no file {path}; train a network with: dust3r-sfm train OUT --preset mini", path=path
        )
    return path


def _unpacked(name: str, tensors: dict[str, Tensor]) -> Tensor:
    value = tensors[name].float()
    if tensors[name].dtype != torch.int8:
        return value
    return value * tensors[name + _SCALE].float().view(-1, *[1] * (value.ndim - 1))
