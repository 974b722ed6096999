"""Our own small network as a predictor."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from dust3r_sfm.errors import PredictorError, WeightsError
from dust3r_sfm.images.load import load_mask, load_pixels
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.options import PredictorOptions
from dust3r_sfm.types import NOTHING_KNOWN, Edge, ImageSet, PairGraph, PairPrediction, View

if TYPE_CHECKING:
    # Whole modules: names from them are resolved at run time too, where annotations are checked.
    import torch

    import dust3r_sfm.network.mini
    import dust3r_sfm.network.source

_IMAGE_NETWORK_PX, _PATCH_NETWORK_PX = 224, 16
"""Longer side of a picture, and side of a patch. Chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The feature of one photograph.

    Attributes:
        name: of the photograph, for messages.
        features: what the network made of it (a batch of one), on the network's device.
        usable: pixels that may be used; None where all may.
    """

    name: str
    features: Any
    usable: Bool[np.ndarray, "h w"] | None


class MiniPredictor:
    """Our small network (24 million parameters), long side 224 pixels; no weights come with it, training makes them.

    Attributes:
        source: file, hash and licence of the weights; None until they are loaded.
    """

    name = "dust3r-mini"
    licence = "Apache-2.0"
    weights = "--weights with mini.safetensors or its folder, as dust3r-sfm train OUT --preset mini leaves it"
    source: "dust3r_sfm.network.source.WeightsSource | None" = None

    def __init__(self, options: PredictorOptions, seed: int) -> None:
        """
        Args:
            options: which weights and device.
            seed: without effect: nothing here is random.

        Raises:
            WeightsError: no weights are named.
        """
        if not options.weights:
            raise WeightsError(
                "The predictor 'dust3r-mini' comes without weights: train them with dust3r-sfm train OUT --preset mini "
                "--device cuda, and give --weights OUT/best."
            )
        self._options, self._weights = options, options.weights
        self.grid = Grid(size=_IMAGE_NETWORK_PX, multiple_of=_PATCH_NETWORK_PX)

    def check(self) -> None:
        """Load the network, so that whatever is wrong with the weights is known before the work.

        Raises:
            WeightsError: weights that are missing, damaged or of another kind.
            PredictorError: a device that this machine lacks.
        """
        _ = self._network

    def prepare(self, images: ImageSet, graph: PairGraph) -> None:
        """Load the network, unless `check` has."""
        self.check()

    def encode(self, views: Sequence[View]) -> list[Encoded]:
        """Encode each photograph, on the device."""
        return [self._encode(view) for view in views]

    def predict(self, features: Mapping[int, Encoded], edges: Sequence[Edge]) -> Iterator[tuple[Edge, PairPrediction]]:
        """Yield the prediction of each edge; one pass gives both directions of a pair.

        Pixels outside a photograph's mask have confidence 1.

        Raises:
            PredictorError: the network gives values that are no numbers.
        """
        wanted = set(edges)
        done: set[Edge] = set()
        for edge in edges:
            if edge in done:
                continue
            # In this order whatever was asked for, so that an edge does not depend on its company.
            i, j = min(edge), max(edge)
            for direction, prediction in zip(((i, j), (j, i)), self._decode(features[i], features[j]), strict=True):
                if direction in wanted and direction not in done:
                    done.add(direction)
                    yield direction, prediction

    def describe(self, views: Sequence[View]) -> None:
        """The network was not trained to rank photographs; retrieval takes the embedded predictor's descriptors."""

    def _encode(self, view: View) -> Encoded:
        import torch

        network, device = self._network
        pixels = torch.from_numpy(load_pixels(view))[None].to(device)
        with torch.inference_mode():
            features = network.encode(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
        return Encoded(name=view.name, features=features, usable=load_mask(view))

    def _decode(self, first: Encoded, second: Encoded) -> tuple[PairPrediction, PairPrediction]:
        import torch

        network, _ = self._network
        with torch.inference_mode():
            there, back = network.decode(first.features, second.features)
        return _on_cpu(there, first, second), _on_cpu(back, second, first)

    @cached_property
    def _network(self) -> "tuple[dust3r_sfm.network.mini.MiniNetwork, torch.device]":
        # Here, because PyTorch takes seconds to import and the list of predictors should not.
        from dust3r_sfm.network.mini_file import locate_mini, read_mini
        from dust3r_sfm.network.source import LoadReport, WeightsSource
        from dust3r_sfm.system.device import choose_device

        device = choose_device(self._options.device)
        path = locate_mini(self._weights)
        network = read_mini(path)
        names = tuple(name for name, _ in network.named_parameters())
        self.source = WeightsSource(
            name=self._weights,
            path=path,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            licence=self.licence,
            report=LoadReport(loaded=names, missing=(), unexpected=()),
        )
        return network.to(device), device


def _on_cpu(prediction: "dust3r_sfm.network.mini.MiniPrediction", first: Encoded, second: Encoded) -> PairPrediction:
    maps = {
        name: getattr(prediction, name)[0].cpu().numpy()
        for name in ("points1", "confidence1", "points2", "confidence2")
    }
    if not all(np.isfinite(values).all() for values in maps.values()):
        raise PredictorError(
            f"The network gives values that are no finite numbers for {first.name} – {second.name}; use other weights."
        )
    for name, usable in (("confidence1", first.usable), ("confidence2", second.usable)):
        if usable is not None:
            maps[name][~usable] = NOTHING_KNOWN
    return PairPrediction(**maps)
