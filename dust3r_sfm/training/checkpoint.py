"""The state of a training run between two steps: whole on disk, or the one before it."""

import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dust3r_sfm.errors import InputError
from dust3r_sfm.system.files import atomic_path
from dust3r_sfm.system.kinds import require_kinds

_FORMAT = "dust3r_sfm training 1"


@dataclass(kw_only=True)
class Position:
    """Where a run stands. All random draws follow from it, so that no generator's state needs keeping.

    Attributes:
        epoch: the running epoch, from 0.
        step: optimizer steps done in it.
        best: lowest validation loss so far.
    """

    epoch: int = 0
    step: int = 0
    best: float = float("inf")


def write_state(
    path: Path,
    preset: str,
    position: Position,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None,
) -> None:
    """Write everything that a run needs to go on.

    Raises:
        OutputError: the disk is full; the state written before is untouched.
    """
    state = {
        "format": _FORMAT,
        "preset": preset,
        "position": asdict(position),
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": None if average is None else average.state_dict(),
    }
    with atomic_path(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # torch's writer reports a full disk so
            raise OSError(f"No space left for {path} ({error})") from error


def read_state(
    path: Path, preset: str, network: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None
) -> Position:
    """Fill network, optimizer and average from a written state.

    Raises:
        InputError: the file is damaged, or of another preset or network.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != _FORMAT:
            raise KeyError("format")
        position = Position(**state["position"])
        require_kinds(position)
        found, parts = state["preset"], [state[name] for name in ("network", "optimizer", "average")]
    except (
        OSError,
        RuntimeError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        EOFError,
        MemoryError,
        OverflowError,
        pickle.UnpicklingError,
    ) as error:
        raise InputError(
            f"{path} is no training state of this program, or damaged; start in another folder.", path=path
        ) from error
    if found != preset:
        raise InputError(f"{path} belongs to preset '{found}', not '{preset}'; choose another folder.", path=path)
    try:
        network.load_state_dict(parts[0])
        optimizer.load_state_dict(parts[1])
        if average is not None and parts[2] is not None:
            average.load_state_dict(parts[2])
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} holds another network than preset '{preset}' builds; choose another folder.", path=path
        ) from error
    return position
