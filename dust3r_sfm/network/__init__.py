"""The network of DUSt3R and MASt3R: photographs in, pointmaps out. It knows tensors, and nothing of reconstruction.

    network = load_network("dust3r-512-dpt")
    features = network.encode(images)                   # once per image
    prediction = network.decode(features1, features2)   # once per directed pair; points1, confidence1, points2, …

The published weights are non-commercial: `network.source.licence`. See docs/network.md.
"""

from typing import TYPE_CHECKING, Any

from dust3r_sfm.network.names import KNOWN_WEIGHTS, KnownWeights

if TYPE_CHECKING:
    from dust3r_sfm.network.completion import CompletionNetwork
    from dust3r_sfm.network.config import NetworkConfig
    from dust3r_sfm.network.features import Features, join
    from dust3r_sfm.network.network import Network, NetworkPrediction
    from dust3r_sfm.network.weights import load_completion, load_network, random_network

__all__ = [
    "KNOWN_WEIGHTS",
    "CompletionNetwork",
    "Features",
    "KnownWeights",
    "Network",
    "NetworkConfig",
    "NetworkPrediction",
    "join",
    "load_completion",
    "load_network",
    "random_network",
]

_MODULES = {
    "CompletionNetwork": "completion",
    "Features": "features",
    "Network": "network",
    "NetworkConfig": "config",
    "NetworkPrediction": "network",
    "join": "features",
    "load_completion": "weights",
    "load_network": "weights",
    "random_network": "weights",
}


def __getattr__(name: str) -> Any:
    # PyTorch takes seconds to import: only those who ask for the network wait for it.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
