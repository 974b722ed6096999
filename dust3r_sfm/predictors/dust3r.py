"""The networks of DUSt3R (Wang et al. 2024) and MASt3R (Leroy et al. 2024) as predictors."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dust3r_sfm.errors import PredictorError, WeightsError
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.network.names import KNOWN_WEIGHTS, KnownWeights, find_known, find_licence
from dust3r_sfm.options import PredictorOptions
from dust3r_sfm.predictors.memory import MemoryLimits
from dust3r_sfm.predictors.predictor import PairPredictor, PixelPair
from dust3r_sfm.types import Edge, ImageSet, PairGraph, PairPrediction, View

if TYPE_CHECKING:
    # Whole modules: names from them are resolved at run time too, where annotations are checked.
    import dust3r_sfm.network.network
    import dust3r_sfm.network.source
    import dust3r_sfm.predictors.encoded
    import dust3r_sfm.predictors.pointmap_network

_PATCH_NETWORK_PX = 16
"""Side of a patch (Wang et al. 2024)."""

_HEAD = "downstream_head"
"""How names of the heads' parameters begin."""

_NEVER_USED = ".refinenet4.resConfUnit1."
"""Parameters of a DPT head that nothing feeds; some files leave them out."""


def weights_hint(known: KnownWeights) -> str:
    """What the list of predictors says about weights."""
    return f"{known.hub_id} from the Hugging Face hub at first use; or --weights with a .pth file, a folder or a hub id"


class NetworkPredictor:
    """A predictor that a network of DUSt3R's or MASt3R's kind stands behind.

    The network is loaded at the first use: by `check`, or by `encode` without it. Making the predictor loads nothing.

    Attributes:
        known: the published weights behind the predictor's name.
        has_descriptors: the network gives matching descriptors too.
        descriptor_size: numbers in a descriptor: of the published network until one is loaded, then of that.
        is_metric: the published network was trained to give metres.
        source: file, hash and licence of the weights; None until they are loaded.
    """

    known: KnownWeights
    weights: str
    licence: str
    has_descriptors = False
    descriptor_size = 0
    is_metric = False
    source: "dust3r_sfm.network.source.WeightsSource | None" = None

    def __init__(self, options: PredictorOptions, seed: int, limits: MemoryLimits | None = None) -> None:
        """
        Args:
            options: which weights, device and number of threads.
            seed: without effect: nothing here is random.
            limits: of memory; default: what suits the device.

        Raises:
            PredictorError: for published weights that belong to another predictor.
        """
        self.name = self.known.name
        self._options, self._limits = options, limits
        self._source = options.weights or self.known.name
        other = find_known(self._source)
        if other is not None and other != self.known:
            raise PredictorError(
                f"{self._source} holds the weights of '{other.name}'; use --predictor {other.name}, "
                "which shows the photographs as they want them."
            )
        self.licence = find_licence(self._source)
        self.grid = Grid(size=self.known.image_size, multiple_of=_PATCH_NETWORK_PX, square_crop=self.known.square)

    def check(self) -> None:
        """Load the network, so that whatever is wrong with the weights is known before the work.

        Raises:
            WeightsError: weights that are missing, damaged or of another kind.
            PredictorError: a device that this machine lacks or that cannot hold the network.
        """
        _ = self._network

    def prepare(self, images: ImageSet, graph: PairGraph) -> None:
        """Load the network, unless `check` has."""
        self.check()

    def encode(self, views: Sequence[View]) -> Sequence["dust3r_sfm.predictors.encoded.Encoded"]:
        """Encode each photograph, on the device."""
        return self._network.encode(views)

    def predict(self, features: Mapping[int, Any], edges: Sequence[Edge]) -> Iterator[tuple[Edge, PairPrediction]]:
        """Yield the prediction of each edge; pixels outside a photograph's mask have confidence 1."""
        return self._network.predict(features, edges)

    def predict_pixels(self, pairs: Sequence[PixelPair]) -> Iterator[PairPrediction]:
        """Yield the prediction of each pair of pictures, such as windows of photographs, of one pair of sizes."""
        return self._network.predict_pixels(pairs)

    def feature_bytes(self, view: View) -> int:
        """How many bytes the packed feature of a photograph takes at most."""
        return self._network.feature_bytes(view)

    def pack(self, feature: "dust3r_sfm.predictors.encoded.Encoded") -> dict[str, np.ndarray]:
        """The encoder's tokens (n, c) in half precision, and `usable` (h, w) where a mask hides pixels."""
        return self._network.pack(feature)

    def unpack(self, arrays: Mapping[str, np.ndarray], view: View) -> "dust3r_sfm.predictors.encoded.Encoded":
        """The feature of a photograph as half floats remember it, on the device."""
        return self._network.unpack(arrays, view)

    def describe(self, views: Sequence[View]) -> None:
        """These networks were not trained to rank photographs; retrieval takes the embedded predictor's descriptors."""

    @cached_property
    def _network(self) -> "dust3r_sfm.predictors.pointmap_network.PointmapNetwork":
        # Here, because PyTorch takes seconds to import and the list of predictors should not.
        from dust3r_sfm.network import load_network
        from dust3r_sfm.predictors.pointmap_network import PointmapNetwork
        from dust3r_sfm.system.device import choose_device

        device = choose_device(self._options.device)
        network = load_network(self._source)
        self._require_fit(network)
        self.source = network.source
        self.descriptor_size = network.config.descriptor_size
        logging.getLogger("dust3r_sfm").warning("Licence of the weights %s: %s", self._source, self.licence)
        return PointmapNetwork(network, device, self._options.num_workers, self._options.precision, self._limits)

    def _require_fit(self, network: "dust3r_sfm.network.network.Network") -> None:
        """
        Raises:
            WeightsError: a network that is not trained, or that another predictor is for.
        """
        source, config = network.source, network.config
        missing = source.report.missing if source is not None else ()
        if any(name.startswith(_HEAD) and _NEVER_USED not in name for name in missing):
            raise WeightsError(
                f"{self._source} holds no heads, so it is a start for training and predicts nothing; give the weights "
                "of a trained network."
            )
        if _PATCH_NETWORK_PX % config.patch_size:
            raise WeightsError(
                f"The network of {self._source} has patches of {config.patch_size} pixels, which do not divide "
                f"{_PATCH_NETWORK_PX}; give one of DUSt3R's kind."
            )
        if bool(config.descriptor_size) != self.has_descriptors:
            other = "dust3r-512-dpt" if self.has_descriptors else "mast3r-512"
            raise WeightsError(
                f"The network of {self._source} has {'no' if self.has_descriptors else 'a'} descriptor head, which "
                f"'{self.name}' {'needs' if self.has_descriptors else 'has no use for'}; use --predictor {other}."
            )


class Dust3r224Linear(NetworkPredictor):
    """DUSt3R, linear head, 224 × 224 pixels cut from the centre: the smallest picture and the quickest."""

    known = KNOWN_WEIGHTS["dust3r-224-linear"]
    licence, weights = known.licence, weights_hint(known)


class Dust3r512Linear(NetworkPredictor):
    """DUSt3R, linear head, long side 512 pixels."""

    known = KNOWN_WEIGHTS["dust3r-512-linear"]
    licence, weights = known.licence, weights_hint(known)


class Dust3r512Dpt(NetworkPredictor):
    """DUSt3R, DPT head, long side 512 pixels: the network of the paper's results."""

    known = KNOWN_WEIGHTS["dust3r-512-dpt"]
    licence, weights = known.licence, weights_hint(known)


class Mast3r512(NetworkPredictor):
    """MASt3R, long side 512 pixels: metric pointmaps, and a matching descriptor for every pixel."""

    known = KNOWN_WEIGHTS["mast3r-512"]
    licence, weights = known.licence, weights_hint(known)
    has_descriptors = True
    descriptor_size = 24
    is_metric = True


def monocular(predictor: PairPredictor, view: View) -> PairPrediction:
    """F(I, I): the geometry of a single photograph, as the network sees it in a pair with itself."""
    (encoded,) = predictor.encode([view])
    ((_, prediction),) = predictor.predict({0: encoded}, [(0, 0)])
    return prediction
