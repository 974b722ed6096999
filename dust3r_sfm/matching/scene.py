"""Matches of every pair that the alignment kept."""

from collections.abc import Sequence

from dust3r_sfm.matching.descriptors import nearest_on
from dust3r_sfm.matching.pair import match_pair
from dust3r_sfm.matching.windows import FineMatcher, require_descriptors
from dust3r_sfm.options import MatchOptions
from dust3r_sfm.predictors.predictor import PairPredictor
from dust3r_sfm.predictors.store import PredictionStore
from dust3r_sfm.system.parallel import map_ordered, num_cores
from dust3r_sfm.system.progress import Step, phase
from dust3r_sfm.types import Edge, Matches, Scene, View


def match_scene(
    scene: Scene,
    views: Sequence[View],
    predictions: PredictionStore,
    options: MatchOptions,
    step: Step = lambda done, total: None,
    device: str = "cpu",
    predictor: PairPredictor | None = None,
) -> list[Matches]:
    """Match each unordered pair once, in a fixed order, reading its prediction i → j with i < j where there is one.

    The other direction is read too where the predictions hold descriptors.

    Args:
        scene: edges with weight 0, or to images that were not placed, are left out.
        views: the scene's images, in its order.
        predictions: pointmaps of the scene's edges.
        options: how to match.
        step: called after each pair.
        device: where descriptors are compared (auto, cpu, cuda, …).
        predictor: looks at the photographs again where `options.fine_size` asks for it.

    Raises:
        PredictorError: for a second look by a predictor without descriptors.
    """
    fine = None
    if predictor is not None and options.fine_size is not None:
        fine = FineMatcher(require_descriptors(predictor), views, options, nearest_on(device))
    kept: dict[Edge, Edge] = {}
    for (i, j), weight in zip(scene.edges.tolist(), scene.edge_weights, strict=True):
        if weight > 0 and scene.registered[i] and scene.registered[j]:
            unordered = (min(i, j), max(i, j))
            kept[unordered] = min((i, j), kept.get(unordered, (i, j)))

    def match(edge: Edge) -> Matches:
        i, j = edge
        forward = predictions[edge]
        if forward.descriptors1 is None:
            return match_pair(forward, None, (views[i], views[j]), edge, options)
        return match_pair(forward, predictions.get((j, i)), (views[i], views[j]), edge, options, nearest_on(device))

    phase("matches of the pointmaps")
    coarse = map_ordered(match, [kept[pair] for pair in sorted(kept)], num_cores())
    matched = []
    # The network of a second look needs torch's threads, which it has when the others are done.
    for matches in coarse if fine is None else list(coarse):
        matched.append(matches if fine is None else fine.refine(matches))
        step(len(matched), len(kept))
    return matched
