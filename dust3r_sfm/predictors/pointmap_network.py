"""A pointmap network at work: photographs to features, pairs to predictions, in batches that fit the memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.images.load import load_mask, load_pixels
from dust3r_sfm.network import Features, Network, join
from dust3r_sfm.predictors.batches import Batches
from dust3r_sfm.predictors.device import Precision, is_out_of_memory, mixed_precision
from dust3r_sfm.predictors.encoded import Encoded, Parts, Shape
from dust3r_sfm.predictors.memory import MemoryLimits
from dust3r_sfm.predictors.predictor import PixelPair
from dust3r_sfm.system.parallel import map_ordered, num_cores
from dust3r_sfm.types import NOTHING_KNOWN, Edge, PairPrediction, View

_MAX_BATCH_NETWORK_PX = {"cuda": 16 * 512 * 384, "mps": 4 * 512 * 384}
"""Pixels of either side of a batch, network pixels. A CPU gains nothing by batches: there each photograph and each edge
goes alone, and a resumed run equals an unbroken one to the last bit. Chosen by hand."""

_PARTS_OF_FREE, _PARTS_OF_NETWORK = 0.25, 0.125
"""Memory for what photographs contribute alone: a share of what a GPU has free, elsewhere of the network's own size.
Chosen by hand."""

_NUM_READ_AHEAD = 32
"""Photographs read before the network asks for them. Chosen by hand."""

_HALF = torch.finfo(torch.float16)


@dataclass(frozen=True, kw_only=True)
class _Picture:
    name: str
    pixels: UInt8[np.ndarray, "h w 3"]
    usable: Bool[np.ndarray, "h w"] | None


class PointmapNetwork:
    """A loaded network on its device.

    Each photograph is encoded once. What it contributes to its pairs alone is computed at its first pair and kept while
    memory lasts. Photographs and edges of one shape share batches; where the memory ends, batches are halved.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        num_workers: int = 0,
        precision: Precision = "auto",
        limits: MemoryLimits | None = None,
    ) -> None:
        """
        Args:
            network: as `load_network` gives it.
            device: where it runs, see `choose_device`.
            num_workers: threads that read photographs; 0: one per core.
            precision: see `mixed_precision`.
            limits: of memory; default: what suits the device.

        Raises:
            PredictorError: when the device's memory cannot hold the network.
        """
        try:
            self._network = network.to(device)
            if device.type == "cpu":
                # A DPT head then takes 0.86 of its time.
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise PredictorError(f"The network does not fit into the memory of {device}; use --device cpu.") from error
        self._device = device
        self._precision = precision
        self._num_workers = num_cores(num_workers)
        limits = limits or MemoryLimits()
        max_bytes = _parts_bytes(network, device) if limits.parts_bytes is None else limits.parts_bytes
        max_pixels = limits.batch_pixels or _MAX_BATCH_NETWORK_PX.get(device.type, 1)
        self._parts = Parts(max_bytes)
        self._batches = Batches(device, max_pixels, self._parts.halve)

    def encode(self, views: Sequence[View]) -> list[Encoded]:
        """Read and encode each photograph once, in batches of one shape; the result is in the order of `views`."""
        encodings = self._batches.run(self._encode, self._pictures(views), lambda picture: (_shape(picture),))
        encoded = {result.name: result for result in encodings}
        return [encoded[view.name] for view in views]

    def predict(self, features: Mapping[int, Encoded], edges: Sequence[Edge]) -> Iterator[tuple[Edge, PairPrediction]]:
        """Yield the prediction of each directed edge, in batches of one pair of shapes.

        Raises:
            PredictorError: when the network gives values that are no numbers, or one edge alone exceeds the memory.
        """

        def decode(batch: Sequence[Edge]) -> list[tuple[Edge, PairPrediction]]:
            return list(zip(batch, self._decode([(features[i], features[j]) for i, j in batch]), strict=True))

        try:
            yield from self._batches.run(decode, edges, lambda edge: (features[edge[0]].shape, features[edge[1]].shape))
        finally:
            self._parts.clear()

    def predict_pixels(self, pairs: Sequence[PixelPair]) -> Iterator[PairPrediction]:
        """Yield the prediction of each pair of pictures; all are of one pair of sizes.

        Raises:
            PredictorError: as `predict`.
        """

        def predict(batch: Sequence[PixelPair]) -> list[PairPrediction]:
            pictures = [
                [_Picture(name="a window of a photograph", pixels=pixels, usable=None) for pixels in pair]
                for pair in batch
            ]
            return self._decode(list(zip(*map(self._encode, zip(*pictures, strict=True)), strict=True)))

        try:
            yield from self._batches.run(predict, pairs, lambda pair: (pair[0].shape[:2], pair[1].shape[:2]))
        finally:
            self._parts.clear()

    def feature_bytes(self, view: View) -> int:
        """How many bytes `pack` gives for a photograph at most."""
        config, (width, height) = self._network.config, view.network_size
        num_tokens = (width // config.patch_size) * (height // config.patch_size)
        return num_tokens * config.encoder_width * _HALF.bits // 8 + width * height

    def pack(self, encoded: Encoded) -> dict[str, np.ndarray]:
        """What is worth storing of a feature: its tokens (n, c) in half precision, and the usable pixels."""
        tokens = encoded.features.tokens[0].clamp(_HALF.min, _HALF.max).half()
        arrays = {"tokens": tokens.cpu().numpy()}
        return arrays if encoded.usable is None else arrays | {"usable": encoded.usable}

    def unpack(self, arrays: Mapping[str, np.ndarray], view: View) -> Encoded:
        """The feature of a photograph from what was packed, on the device; its tokens stay in half precision."""
        width, height = view.network_size
        patch_size = self._network.config.patch_size
        features = Features(
            tokens=torch.from_numpy(arrays["tokens"])[None].to(self._device),
            grid=(height // patch_size, width // patch_size),
            transposed=torch.zeros(1, dtype=torch.bool),
        )
        return Encoded(name=view.name, shape=(height, width), features=features, usable=arrays.get("usable"))

    def _pictures(self, views: Sequence[View]) -> Iterator[_Picture]:
        """Read photographs with several threads, a bounded number ahead."""
        remaining = iter(views)
        while ahead := list(islice(remaining, _NUM_READ_AHEAD)):
            # All at once: torch has one thread only while the reading goes on.
            yield from list(map_ordered(_read, ahead, self._num_workers))

    @torch.inference_mode()
    def _encode(self, pictures: Sequence[_Picture]) -> list[Encoded]:
        pixels = torch.from_numpy(np.stack([picture.pixels for picture in pictures])).to(self._device)
        images = pixels.permute(0, 3, 1, 2).float().div(255).sub(0.5).div(0.5)
        with mixed_precision(self._device, self._precision):
            features = self._network.encode(images)
        return [
            Encoded(name=picture.name, shape=_shape(picture), features=features.select([row]), usable=picture.usable)
            for row, picture in enumerate(pictures)
        ]

    @torch.inference_mode()
    def _decode(self, pairs: Sequence[tuple[Encoded, Encoded]]) -> list[PairPrediction]:
        firsts, seconds = zip(*pairs, strict=True)
        with mixed_precision(self._device, self._precision):
            prediction = self._network.decode(self._side(firsts, 1), self._side(seconds, 2))
        self._parts.trim()
        # Whatever range the network's confidence has, 1 is where nothing is known.
        offset = NOTHING_KNOWN - self._network.config.confidence_mode[1]
        maps: dict[str, Tensor] = {
            "points1": prediction.points1,
            "confidence1": (prediction.confidence1 + offset).clamp(min=NOTHING_KNOWN),
            "points2": prediction.points2,
            "confidence2": (prediction.confidence2 + offset).clamp(min=NOTHING_KNOWN),
        }
        for name in ("descriptors1", "descriptors2", "descriptor_confidence1", "descriptor_confidence2"):
            values = getattr(prediction, name)
            if values is not None:
                maps[name] = values
        self._require_numbers(maps, pairs)
        arrays = {name: values.cpu().numpy() for name, values in maps.items()}
        for row, (first, second) in enumerate(pairs):
            for confidence, usable in (("confidence1", first.usable), ("confidence2", second.usable)):
                if usable is not None:
                    arrays[confidence][row][~usable] = NOTHING_KNOWN
        return [PairPrediction(**{name: values[row] for name, values in arrays.items()}) for row in range(len(pairs))]

    def _side(self, encoded: Sequence[Encoded], view: int) -> Features:
        """One side of a batch of pairs, with what each photograph contributes alone in that role."""
        new = list(dict.fromkeys(one for one in encoded if view not in one.features.parts))
        if new:
            together = join([replace(one.features, parts={}) for one in new])
            self._network.part(together, view)
            for row, one in enumerate(new):
                one.features.parts[view] = together.select([row]).parts[view]
        self._parts.keep(encoded)
        return join([replace(one.features, parts={view: one.features.parts[view]}) for one in encoded])

    def _require_numbers(self, maps: Mapping[str, Tensor], pairs: Sequence[tuple[Encoded, Encoded]]) -> None:
        finite = torch.stack([values.flatten(1).isfinite().all(1) for values in maps.values()]).all(0)
        if not finite.all():
            first, second = pairs[int(finite.int().argmin())]
            raise PredictorError(
                f"The network gives values that are no finite numbers for {first.name} – {second.name}; "
                "use other weights, or --device cpu if they are known to be good."
            )


def _read(view: View) -> _Picture:
    return _Picture(name=view.name, pixels=load_pixels(view), usable=load_mask(view))


def _shape(picture: _Picture) -> Shape:
    height, width = picture.pixels.shape[:2]
    return height, width


def _parts_bytes(network: Network, device: torch.device) -> int:
    if device.type == "cuda":
        return int(_PARTS_OF_FREE * torch.cuda.mem_get_info(device.index)[0])
    return int(_PARTS_OF_NETWORK * sum(parameter.nbytes for parameter in network.parameters()))
