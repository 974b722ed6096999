"""From a checkpoint to a network that holds it, every entry accounted for."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from dust3r_sfm.errors import WeightsError
from dust3r_sfm.network.backbone import Backbone
from dust3r_sfm.network.checkpoint import Checkpoint, read_checkpoint
from dust3r_sfm.network.completion import CompletionNetwork
from dust3r_sfm.network.config import NetworkConfig, config_from_keywords
from dust3r_sfm.network.hub import locate
from dust3r_sfm.network.names import find_licence
from dust3r_sfm.network.network import Network
from dust3r_sfm.network.source import LoadReport, WeightsSource

# Parameters that a `Network` computes nothing with; some files leave them out.
_UNUSED = re.compile(r"mask_token|.*\.refinenet4\.resConfUnit1\..*")
_NOT_BACKBONE = re.compile(r"mask_token|downstream_head[12]\..*|prediction_head\..*")
_ALIAS = re.compile(r"scratch\.layer_rn\.(\d)\.")
_NAMES_IN_MESSAGE = 8
"""Tensors that an error names: chosen by hand."""

AnyNetwork = TypeVar("AnyNetwork", bound=Backbone)


def load_network(source: str | Path, config: NetworkConfig | None = None, *, seed: int = 0) -> Network:
    """Load a DUSt3R or MASt3R network, on the CPU.

    Args:
        source: a .pth file, a folder with config.json and model.safetensors, a hub id, or a name of `KNOWN_WEIGHTS`;
            downloaded where it is not on this machine.
        config: start this network from the file instead of rebuilding the file's own: a CroCo v2 file, or other heads
            than the file's. Without it a CroCo file starts a linear head. What the file does not hold is random, and
            `network.source.report.missing` names it.
        seed: of the random part.

    Returns:
        the network in evaluation mode, without gradients unless it was only started from the file; `network.source`
        says where it came from and under which licence.

    Raises:
        WeightsError: a missing, damaged, refused, foreign or incomplete file, or no way to download it.
    """
    checkpoint = read_checkpoint(locate(str(source)))
    wanted = config or _own_config(checkpoint)
    if config is None and checkpoint.class_name != "CroCoNet":
        network, report = _filled(Network, wanted, checkpoint)
        network.requires_grad_(False)
    else:
        network = random_network(wanted, seed)
        report = initialize(network, checkpoint)
    network.source = WeightsSource(
        name=str(source),
        path=checkpoint.path,
        sha256=_sha256(checkpoint.path),
        licence=find_licence(str(source)),
        report=report,
    )
    return network.eval()


def load_completion(source: str | Path) -> CompletionNetwork:
    """Load CroCo's own network from one of its files, on the CPU and in evaluation mode.

    Raises:
        WeightsError: as `load_network`.
    """
    checkpoint = read_checkpoint(locate(str(source)))
    if checkpoint.class_name != "CroCoNet":
        raise WeightsError(
            f"{checkpoint.path} is a {checkpoint.class_name}, no CroCo v2 checkpoint; use load_network.",
            path=checkpoint.path,
        )
    return _filled(CompletionNetwork, _own_config(checkpoint), checkpoint)[0].eval()


def random_network(config: NetworkConfig, seed: int) -> Network:
    """A network with the start values of DUSt3R's training; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(config)
        network.initialize()
    return network


def initialize(network: Network, checkpoint: Checkpoint) -> LoadReport:
    """Start a network from a checkpoint of the same backbone, keeping the network's values for what the file lacks.

    A file with one decoder (CroCo) gives it to both views.

    Raises:
        WeightsError: another backbone, a backbone that is not complete, or values that are no numbers.
    """
    own = _own_config(checkpoint) if checkpoint.keywords is not None else network.config
    for name in ("encoder_heads", "decoder_heads", "rope_base"):
        # Tensor shapes do not show these.
        given, wanted = getattr(own, name), getattr(network.config, name)
        if given != wanted:
            raise WeightsError(
                f"{checkpoint.path} has {name} {given} where the network has {wanted}; give one of the same backbone.",
                path=checkpoint.path,
            )
    state = _canonical(checkpoint.state)
    if not any(name.startswith("dec_blocks2.") for name in state):
        state |= {f"dec_blocks2.{name[11:]}": value for name, value in state.items() if name.startswith("dec_blocks.")}
    report = _compare(network, state, checkpoint.path)
    _refuse_other_names(report, checkpoint.path, allowed=_NOT_BACKBONE)
    _copy(network, state, report.loaded, checkpoint.path)
    return report


def _own_config(checkpoint: Checkpoint) -> NetworkConfig:
    if checkpoint.keywords is None:
        raise WeightsError(
            f"{checkpoint.path} does not say how its network is built; pass the config of the network to start "
            "from it.",
            path=checkpoint.path,
        )
    return config_from_keywords(checkpoint.class_name, checkpoint.keywords, str(checkpoint.path))


def _filled(kind: type[AnyNetwork], config: NetworkConfig, checkpoint: Checkpoint) -> tuple[AnyNetwork, LoadReport]:
    """The network of a file, with all values from the file."""
    # Names and shapes are compared before any memory is taken for what a damaged configuration asks for.
    with torch.device("meta"):
        network = kind(config)
    state = _canonical(checkpoint.state)
    report = _compare(network, state, checkpoint.path)
    _refuse_other_names(report, checkpoint.path, allowed=_UNUSED)
    network.to_empty(device="cpu")
    with torch.no_grad():
        for name in report.missing:
            network.get_parameter(name).zero_()
    _copy(network, state, report.loaded, checkpoint.path)
    return network, report


def _canonical(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One name for each tensor: the published files spell four of each DPT head in two ways."""
    return {_canonical_name(name): value for name, value in state.items()}


def _canonical_name(name: str) -> str:
    return _ALIAS.sub(lambda match: f"scratch.layer{int(match[1]) + 1}_rn.", name)


def _compare(network: Backbone, state: Mapping[str, Tensor], path: Path) -> LoadReport:
    """Which names fit; shapes that do not are an error."""
    wanted = dict(network.named_parameters())
    loaded = tuple(name for name in wanted if name in state)
    for name in loaded:
        given = state[name]
        if given.shape != wanted[name].shape or not given.is_floating_point() or given.layout != torch.strided:
            raise WeightsError(
                f"{path} is of another architecture: {name} is {tuple(given.shape)} of {given.dtype}, "
                f"where {tuple(wanted[name].shape)} of numbers is expected.",
                path=path,
            )
    return LoadReport(
        loaded=loaded,
        missing=tuple(name for name in wanted if name not in state),
        unexpected=tuple(name for name in state if name not in wanted),
    )


def _refuse_other_names(report: LoadReport, path: Path, allowed: re.Pattern[str]) -> None:
    missing, unexpected = (
        [name for name in names if not allowed.fullmatch(name)] for names in (report.missing, report.unexpected)
    )
    if missing or unexpected:
        parts = [f"{len(missing)} missing ({_listed(missing)})"] if missing else []
        parts += [f"{len(unexpected)} unknown ({_listed(unexpected)})"] if unexpected else []
        raise WeightsError(f"{path} does not fit the network it describes: {' and '.join(parts)} entries.", path=path)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_IN_MESSAGE
    return ", ".join(names[:_NAMES_IN_MESSAGE]) + (f" and {more} more" if more > 0 else "")


@torch.no_grad()
def _copy(network: Backbone, state: Mapping[str, Tensor], names: Sequence[str], path: Path) -> None:
    for name in names:
        low, high = torch.aminmax(state[name].float())
        if not (low.isfinite() and high.isfinite()):
            raise WeightsError(
                f"{path} has values in {name} that are no finite numbers; the file is damaged.", path=path
            )
        network.get_parameter(name).copy_(state[name])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
