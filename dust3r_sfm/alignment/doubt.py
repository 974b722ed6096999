"""Repeated structure: what it glues is kept apart where the pictures tell, and the rest is doubted aloud.

Wrong pairs of a building with equal sides confirm each other, so no triangle and no residual reveals them. Three things
do: photographs that look different where the scene shows them one surface (`unlike_pairs`), pairs that know much and
contradict the scene by tens of degrees, and both are only certain of single pairs, never of the whole.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from dust3r_sfm.alignment.appearance import Unlike, unlike_pairs
from dust3r_sfm.alignment.samples import draw_samples
from dust3r_sfm.alignment.start.pairwise import relative_poses
from dust3r_sfm.geometry.transforms import rotation_angle
from dust3r_sfm.types import Edge, ImageSet, PairPrediction, Scene

FOLDED: str = "The model may be folded by repeated structure"
"""How a warning begins that speaks of it."""

_NUM_ROUNDS = 3
"""Times that a scene is aligned anew without the pairs that its pictures contradict; chosen by hand."""
_MAX_NUM_NAMES = 3
"""Pairs that a sentence names; chosen by hand."""
_CONTRADICTING_DEGREES = 20.0
"""Rotation by which a pair contradicts the placed cameras, so that noise cannot be the reason; chosen by hand."""
_KNOWN_OF_PICTURE = 0.1
"""Share of both photographs that it must have measured to be heard; chosen by hand: pairs that the alignment of seven
sets of photographs rejected never do both."""
_NUM_SAMPLES = 2000
"""Pixels that tell how much a pair knows and says; chosen by hand."""

Predictions = Mapping[Edge, PairPrediction]
Solve = Callable[[Predictions], Sequence[Scene]]


class _Without(Mapping[Edge, PairPrediction]):
    """Predictions without those of some pairs, still read one at a time."""

    def __init__(self, predictions: Predictions, pairs: set[Edge]) -> None:
        self._predictions = predictions
        self._edges = [edge for edge in predictions if (min(edge), max(edge)) not in pairs]

    def __getitem__(self, edge: Edge) -> PairPrediction:
        return self._predictions[edge]

    def __iter__(self) -> Iterator[Edge]:
        return iter(self._edges)

    def __len__(self) -> int:
        return len(self._edges)


def align_doubting(solve: Solve, images: ImageSet, predictions: Predictions) -> tuple[Scene, ...]:
    """Align, leave out the pairs that the pictures contradict, and align again; say what remains doubtful.

    Args:
        solve: aligns predictions to one scene, or to one of each group of photographs, the largest first.
        images: the photographs.
        predictions: pointmaps by directed edge.

    Returns:
        The scenes that `solve` gave last. The warnings of the first name the pairs that were left out, and those that
        speak for a folded model.
    """
    left_out: dict[Edge, Unlike] = {}
    for _ in range(_NUM_ROUNDS):
        scenes = solve(_Without(predictions, set(left_out)) if left_out else predictions)
        unlike = [each for scene in scenes for each in unlike_pairs(scene)]
        wrong = [each for each in unlike if each.is_held]
        if not wrong:
            break
        left_out |= {each.pair: each for each in wrong}
    first, *others = scenes
    doubts = [
        *_left_out(first, list(left_out.values())),
        *_folded(first, unlike),
        *contradictions(first, images, predictions),
    ]
    return replace(first, warnings=(*first.warnings, *doubts)), *others


def contradictions(scene: Scene, images: ImageSet, predictions: Predictions) -> tuple[str, ...]:
    """Name the pairs that know much, contradict the scene by tens of degrees, and do not count in it.

    Args:
        scene: aligned.
        images: its photographs.
        predictions: pointmaps by directed edge; only those of pairs that were rejected are read.
    """
    weights: dict[Edge, float] = {}
    for (i, j), weight in zip(scene.edges.tolist(), scene.edge_weights, strict=True):
        pair = (min(i, j), max(i, j))
        weights[pair] = max(weights.get(pair, 0.0), float(weight))
    rejected = {pair for pair, weight in weights.items() if weight == 0 and scene.registered[list(pair)].all()}
    some = {edge: predictions[edge] for edge in predictions if (min(edge), max(edge)) in rejected}
    if not some:
        return ()
    samples = draw_samples(images, some, _NUM_SAMPLES)
    pairs = relative_poses(samples, scene.intrinsics[:, 0, 0])
    first, second = pairs.images.T
    rotations = scene.cam_from_world[:, :, :3]
    placed = rotations[first] @ np.swapaxes(rotations[second], 1, 2)
    off = rotation_angle(placed @ np.swapaxes(pairs.rotations, 1, 2))
    known = [min((samples.of(int(e), 0)[1] > 0).mean() for e in edges if e >= 0) for edges in pairs.edges]
    found = np.flatnonzero((off > _CONTRADICTING_DEGREES) & (np.array(known) > _KNOWN_OF_PICTURE))
    if not len(found):
        return ()
    names = _named(scene, [(int(i), int(j)) for i, j in pairs.images[found]])
    return (
        f"{FOLDED}: {names} match well, but put their cameras elsewhere "
        f"({off[found].max():.0f}° off at most); leave out photographs that only look alike, or add some between.",
    )


def _left_out(scene: Scene, unlike: list[Unlike]) -> list[str]:
    if not unlike:
        return []
    names = _named(scene, [each.pair for each in unlike])
    return [
        f"Repeated structure: {names} match in part, but differ where they would show the same surface; such pairs do "
        "not count."
    ]


def _folded(scene: Scene, unlike: list[Unlike]) -> list[str]:
    if not unlike:
        return []
    names = _named(scene, [each.pair for each in unlike])
    return [f"{FOLDED}: {names} would show the same surface, but look different there."]


def _named(scene: Scene, pairs: list[Edge]) -> str:
    listed = ", ".join(" and ".join(scene.names[i] for i in pair) for pair in pairs[:_MAX_NUM_NAMES])
    rest = len(pairs) - _MAX_NUM_NAMES
    return listed + (f" and {rest} other pair{'s' if rest > 1 else ''}" if rest > 0 else "")
