"""The plug: what a predictor of pairwise pointmaps must offer, and how it is found by name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.features.matcher import chosen_name
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.options import PredictorOptions
from dust3r_sfm.system.digest import contents, digest
from dust3r_sfm.system.plugins import load_factory, registered
from dust3r_sfm.types import Edge, ImageSet, PairGraph, PairPrediction, View

ENTRY_POINT_GROUP = "dust3r_sfm.predictors"

PixelPair = tuple[UInt8[np.ndarray, "h1 w1 3"], UInt8[np.ndarray, "h2 w2 3"]]


@runtime_checkable
class PairPredictor(Protocol):
    """Predicts, for two photographs, two pointmaps in the first camera's frame.

    A predictor is made by `factory(options: PredictorOptions, seed: int)`, registered under its name in the entry-point
    group `dust3r_sfm.predictors`. The first line of the factory's docstring is its summary in listings; its attributes
    `licence` (of code and weights) and `weights` (what `--weights` expects, if anything) are shown beside it. Making a
    predictor may load weights and raise `WeightsError` or `PredictorError`.

    The prediction of an edge must not depend on the other edges of a call: a resumed run equals an unbroken one.

    Attributes:
        name: what the run records say about it.
        licence: licence of the code and the weights, as recorded with every prediction.
        grid: the picture size it wants; `images.read_images` builds `View.network_size` from it.

    One that gives descriptors has a `descriptor_size` too, so that the room its predictions take is known beforehand.
    """

    name: str
    licence: str
    grid: Grid

    def prepare(self, images: ImageSet, graph: PairGraph) -> None:
        """Look once at the whole set before any prediction; called with the full set also when a run is resumed."""

    def encode(self, views: Sequence[View]) -> Sequence[Any]:
        """Return one feature object per view; called once per photograph while the cache holds it."""
        ...

    def predict(self, features: Mapping[int, Any], edges: Sequence[Edge]) -> Iterator[tuple[Edge, PairPrediction]]:
        """Yield the prediction of each directed edge, in any order, batched inside as the predictor likes.

        `features` holds the encoded photographs of all `edges`, by image index. The two directions of a pair are
        neighbours in `edges`, so that work can be shared. A pair that fails yields confidence 1 everywhere.
        """
        ...

    def describe(self, views: Sequence[View]) -> Float32[np.ndarray, "n d"] | None:
        """Return global descriptors whose cosine similarity ranks photographs for retrieval, or None if it has none."""
        ...


@runtime_checkable
class StoresFeatures(Protocol):
    """What a predictor may offer besides: features that wait on disk where memory cannot hold all of a set."""

    def feature_bytes(self, view: View) -> int:
        """Return how many bytes the packed feature of a photograph takes at most."""
        ...

    def pack(self, feature: Any) -> Mapping[str, np.ndarray]:
        """Return a feature as arrays to be stored, floats in half precision."""
        ...

    def unpack(self, arrays: Mapping[str, np.ndarray], view: View) -> Any:
        """Return the feature of a photograph again, as well as half floats remember it."""
        ...


@runtime_checkable
class KeepsMatches(Protocol):
    """What a predictor may offer besides: what it finds before the first prediction waits in files."""

    @property
    def matcher_mark(self) -> str:
        """What its predictions depend on besides: the matcher, and the weights of it."""
        ...

    def keep_in(self, folder: Path) -> None:
        """Keep features and matches in a folder, from which a killed run goes on; called before `prepare`."""
        ...


@runtime_checkable
class LoadsWeights(Protocol):
    """What a predictor that loads weights may offer besides: whatever is wrong with them is known before the work.

    Attributes:
        source: a `network.source.WeightsSource` once they are loaded.
    """

    source: Any

    def check(self) -> None:
        """Load the weights, once; raise `WeightsError` or `PredictorError` where they cannot be used."""
        ...


@runtime_checkable
class PredictsPixels(Protocol):
    """What a predictor may offer besides: it looks at pictures that no file holds, such as windows of photographs."""

    def predict_pixels(self, pairs: Sequence[PixelPair]) -> Iterator[PairPrediction]:
        """Yield the prediction of each pair of RGB pictures (h, w, 3), in order; all are of one pair of sizes."""
        ...


def check_predictor(predictor: PairPredictor) -> dict[str, Any]:
    """Return what a run records about a predictor, after making sure of its weights.

    Raises:
        PredictorError: when the weights or the device cannot be used.
    """
    facts: dict[str, Any] = {"name": predictor.name, "licence": predictor.licence}
    if isinstance(predictor, LoadsWeights):
        predictor.check()
        source = predictor.source
        facts["source"] = {"name": source.name, "path": str(source.path), "sha256": source.sha256}
    return facts


def predictor_mark(predictor: PairPredictor) -> str:
    """Return what tells apart what predictors make, whatever their weights are called; loads the weights.

    Raises:
        PredictorError: when the weights or the device cannot be used.
    """
    facts = check_predictor(predictor)
    return f"{facts['name']} {facts.get('source', {}).get('sha256', '')}"


def predictor_facts(options: PredictorOptions) -> dict[str, Any]:
    """Return, as JSON values, what predictions depend on: the predictor, its precision, and its weights.

    The weights count by name and by the content of the files behind it.
    """
    chosen = {"predictor": options.predictor, "weights": options.weights, "precision": options.precision}
    matcher = {"matcher": chosen_name(options.matcher, options.matcher_weights)}
    if options.matcher_weights is not None:
        folder = options.matcher_weights.expanduser()
        matcher["matcher_weights"] = contents(folder) if folder.exists() else str(folder)
    return chosen | _weights_facts(options) | matcher


def _weights_facts(options: PredictorOptions) -> dict[str, list[tuple[str, str]]]:
    path = Path(options.weights).expanduser() if options.weights else None
    if path is None or not path.exists():
        return {}
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    return {"weights_files": [(file.name, digest(file)) for file in files]}


@dataclass(frozen=True, kw_only=True)
class PredictorInfo:
    """One line of the list of predictors.

    Attributes:
        name: what `--predictor` takes.
        summary: one sentence.
        licence: licence of the code and the weights.
        weights: what `--weights` expects; empty when it needs none.
    """

    name: str
    summary: str
    licence: str
    weights: str


def list_predictors() -> list[PredictorInfo]:
    """Return the registered predictors by name; one that cannot be imported says why in its summary."""
    return [_info(entry_point) for _, entry_point in sorted(registered(ENTRY_POINT_GROUP).items())]


def load_predictor(options: PredictorOptions, seed: int) -> PairPredictor:
    """Make the predictor that `options.predictor` names.

    Raises:
        PredictorError: when no predictor has this name, or it cannot be imported or is none.
        WeightsError: when the predictor refuses `options.weights`.
    """
    predictor = load_factory(ENTRY_POINT_GROUP, "predictor", options.predictor)(options, seed)
    if not isinstance(predictor, PairPredictor):
        raise PredictorError(
            f"The predictor '{options.predictor}' lacks a part of "
            "dust3r_sfm.predictors.predictor.PairPredictor; install a version of it that fits this one of dust3r_sfm."
        )
    return predictor


def _info(entry_point: EntryPoint) -> PredictorInfo:
    try:
        factory = entry_point.load()
    except (ImportError, AttributeError) as error:
        return PredictorInfo(
            name=entry_point.name, summary=f"cannot be imported: {error}", licence="unknown", weights=""
        )
    return PredictorInfo(
        name=entry_point.name,
        summary=(factory.__doc__ or "").strip().partition("\n")[0],
        licence=getattr(factory, "licence", "unknown"),
        weights=getattr(factory, "weights", ""),
    )
