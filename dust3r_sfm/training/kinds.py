"""The two families of networks that are trained: the faithful one, and the small one of our own."""

from pathlib import Path

from dust3r_sfm.errors import WeightsError
from dust3r_sfm.network.config import NetworkConfig
from dust3r_sfm.network.mini import MiniConfig, MiniNetwork, random_mini
from dust3r_sfm.network.mini_file import FILE_NAME, read_mini, write_mini
from dust3r_sfm.network.network import Network
from dust3r_sfm.network.saving import write_network
from dust3r_sfm.network.weights import load_network, random_network

AnyConfig = NetworkConfig | MiniConfig
AnyNetwork = Network | MiniNetwork


def new_network(config: AnyConfig, seed: int) -> AnyNetwork:
    """A network with random start values."""
    return random_mini(config, seed) if isinstance(config, MiniConfig) else random_network(config, seed)


def started_network(source: str, config: AnyConfig, seed: int) -> AnyNetwork:
    """A network that starts from a file.

    Raises:
        WeightsError: a missing or damaged file, or one of another network.
    """
    if not isinstance(config, MiniConfig):
        return load_network(source, config, seed=seed)
    network = read_mini(source)
    if network.config != config:
        raise WeightsError(f"{source} holds a small network of other sizes than this preset's; start from another.")
    return network


def write_weights(network: AnyNetwork, folder: Path) -> None:
    """Write a network so that `--weights FOLDER` of its predictor takes it.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    if isinstance(network, MiniNetwork):
        write_mini(network, folder / FILE_NAME)
    else:
        write_network(network, folder)
