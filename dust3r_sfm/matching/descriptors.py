"""Correspondences by dense descriptors: fast reciprocal nearest neighbours (MASt3R, Leroy et al. 2024, section 3.3).

The nearest neighbour of a descriptor is the pixel of the other image with the largest dot product. It is exact and
found by brute force, in blocks that stay in the processor's cache or, on a GPU, by PyTorch: 24 dimensions are too many
for a search tree.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float32, Float64, Int64

from dust3r_sfm.matching.pointmap import Pointmap
from dust3r_sfm.options import MatchOptions
from dust3r_sfm.types import PairPrediction

_AS_IN_THE_PAPER = MatchOptions(match_stride=8)
"""Seeds on every eighth pixel (Leroy et al. 2024, section 3.3)."""

_MAX_ROUNDS = 10
"""Rounds there and back; what has not settled then is dropped. Chosen by hand."""

_QUERIES, _TARGETS = 256, 2048
"""Descriptors in a block: 2 MB of scores. Chosen by hand."""

Nearest = Callable[[Float32[np.ndarray, "q d"], Float32[np.ndarray, "n d"]], Int64[np.ndarray, " q"]]
"""Gives, for each row of the first table, the most similar row of the second: `nearest`, or `nearest_on(device)`."""


@dataclass(frozen=True, kw_only=True)
class Correspondences:
    """Pixels of two images that belong together, as row-major indices.

    Attributes:
        index1, index2: pixels of the two images; no pair of them twice, ordered by `index1`, then `index2`.
        confidence: geometric mean of the two pixels' descriptor confidences.
    """

    index1: Int64[np.ndarray, " m"]
    index2: Int64[np.ndarray, " m"]
    confidence: Float64[np.ndarray, " m"]


def correspondences(
    forward: PairPrediction, backward: PairPrediction | None = None, options: MatchOptions = _AS_IN_THE_PAPER
) -> Correspondences:
    """Find the correspondences of a pair from every `match_stride`-th pixel of both images.

    Both images' seeds run through the descriptors of the prediction 1 → 2, and again through those of 2 → 1.

    Args:
        forward: prediction of the pair (1, 2), with descriptors.
        backward: that of (2, 1), where there is one.
        options: distance of the seeds, and which pixels may be matched.

    Returns:
        All that were found, each once. One that both predictions gave has the confidence of `forward`.
    """
    sides = [(Described.of(forward, 1, options), Described.of(forward, 2, options))]
    if backward is not None:
        sides.append((Described.of(backward, 2, options), Described.of(backward, 1, options)))
    pairs, confidences = [], []
    for side1, side2 in sides:
        there = reciprocal(side1.table, side2.table, side1.points.anchors)
        back = reciprocal(side2.table, side1.table, side2.points.anchors)
        index1, index2 = np.concatenate([there[0], back[1]]), np.concatenate([there[1], back[0]])
        usable = side1.points.is_known[index1] & side2.points.is_known[index2]
        index1, index2 = index1[usable], index2[usable]
        pairs.append(np.column_stack([index1, index2]))
        confidences.append(np.sqrt(side1.confidence[index1] * side2.confidence[index2]))
    distinct, first = np.unique(np.concatenate(pairs), axis=0, return_index=True)
    confidence = np.concatenate(confidences)[first].astype(np.float64)
    return Correspondences(index1=distinct[:, 0], index2=distinct[:, 1], confidence=confidence)


def reciprocal(
    descriptors1: Float32[np.ndarray, "n d"],
    descriptors2: Float32[np.ndarray, "m d"],
    seeds: Int64[np.ndarray, " s"],
    max_rounds: int = _MAX_ROUNDS,
) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
    """Let seeds of image 1 jump to their nearest neighbour in image 2 and back until they stay.

    A seed has settled when it comes to a pixel, of either image, where it was the round before: then the two pixels are
    each other's nearest neighbours. Many seeds end in one pair, whose basin they cover.

    Args:
        descriptors1, descriptors2: unit descriptors.
        seeds: rows of `descriptors1` to start from.
        max_rounds: rounds there and back.

    Returns:
        (index1, index2) of the distinct mutual pairs that were reached, ordered by index1.
    """
    at1, at2 = seeds.copy(), np.full_like(seeds, -1)
    settled = np.zeros(len(seeds), dtype=bool)
    for _ in range(max_rounds):
        moving = np.flatnonzero(~settled)
        if len(moving) == 0:
            break
        new2 = nearest(descriptors1[at1[moving]], descriptors2)
        new1 = nearest(descriptors2[new2], descriptors1)
        settled[moving] = (new2 == at2[moving]) | (new1 == at1[moving])
        at1[moving], at2[moving] = new1, new2
    pairs = np.unique(np.column_stack([at1[settled], at2[settled]]), axis=0)
    return pairs[:, 0], pairs[:, 1]


def returning(
    descriptors1: Float32[np.ndarray, "n d"],
    descriptors2: Float32[np.ndarray, "m d"],
    seeds: Int64[np.ndarray, " s"],
    width: int,
    tolerance: float,
    search: Nearest | None = None,
) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
    """Match seeds of image 1 that come back, from their nearest neighbour in image 2, to less than `tolerance` pixels.

    Unlike in `reciprocal`, the seeds stay where they are, so that all pairs of an image share them.

    Args:
        descriptors1, descriptors2: unit descriptors.
        seeds: rows of `descriptors1`.
        width: of image 1, whose pixels are its rows in row-major order.
        tolerance: in pixels of image 1.
        search: how neighbours are found, `nearest` by default.

    Returns:
        (index1, index2): the seeds that came back, in their order, and their nearest neighbours.
    """
    search = search or nearest
    there = search(descriptors1[seeds], descriptors2)
    back = search(descriptors2[there], descriptors1)
    distance = np.hypot(back % width - seeds % width, back // width - seeds // width)
    kept = distance < tolerance
    return seeds[kept], there[kept]


def nearest(queries: Float32[np.ndarray, "q d"], targets: Float32[np.ndarray, "n d"]) -> Int64[np.ndarray, " q"]:
    """Find the row of `targets` with the largest dot product with each query; of equal ones the first (on the CPU)."""
    columns = np.ascontiguousarray(targets.T)
    best_rows = np.zeros(len(queries), dtype=np.int64)
    for start in range(0, len(queries), _QUERIES):
        block = queries[start : start + _QUERIES]
        rows, best = np.arange(len(block)), np.full(len(block), -np.inf, dtype=np.float32)
        for first in range(0, len(targets), _TARGETS):
            scores = block @ columns[:, first : first + _TARGETS]
            winner = scores.argmax(axis=1)
            score = scores[rows, winner]
            better = score > best
            best[better] = score[better]
            best_rows[start : start + _QUERIES][better] = winner[better] + first
    return best_rows


@cache
def nearest_on(device: str) -> Nearest:
    """Give the search for a device (auto, cpu, cuda, …): `nearest`, or the same on a GPU while its memory lasts.

    Raises:
        PredictorError: a device that this machine lacks.
    """
    import torch

    from dust3r_sfm.predictors.device import is_out_of_memory
    from dust3r_sfm.system.device import choose_device

    chosen = choose_device(device)
    if chosen.type == "cpu":
        return nearest

    def search(queries: Float32[np.ndarray, "q d"], targets: Float32[np.ndarray, "n d"]) -> Int64[np.ndarray, " q"]:
        best_rows = np.zeros(len(queries), dtype=np.int64)
        try:
            rows, columns = torch.from_numpy(queries).to(chosen), torch.from_numpy(targets).to(chosen).T
            for start in range(0, len(queries), _QUERIES):
                scores = rows[start : start + _QUERIES] @ columns
                best_rows[start : start + _QUERIES] = scores.argmax(1).cpu().numpy()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return nearest(queries, targets)
        return best_rows

    return search


@dataclass(frozen=True, kw_only=True)
class Described:
    """One image's descriptors in a prediction, pixels in row-major order.

    Attributes:
        shape: (height, width) of the image.
        table: descriptors, zero where a pixel may not be matched.
        confidence: their confidence.
        points: the image's pointmap.
    """

    shape: tuple[int, int]
    table: Float32[np.ndarray, "n d"]
    confidence: Float32[np.ndarray, " n"]
    points: Pointmap

    @staticmethod
    def of(prediction: PairPrediction, view: int, options: MatchOptions) -> "Described":
        """The first (1) or second (2) image of a prediction that has descriptors."""
        points, confidence, descriptors, own = (
            getattr(prediction, f"{name}{view}")
            for name in ("points", "confidence", "descriptors", "descriptor_confidence")
        )
        height, width, size = descriptors.shape
        pointmap, table = Pointmap.of(points, confidence, options), descriptors.reshape(-1, size)
        if not pointmap.is_known.all():
            table = table * pointmap.is_known[:, None]
        return Described(shape=(height, width), table=table, confidence=own.ravel(), points=pointmap)
