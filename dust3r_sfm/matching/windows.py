"""Coarse to fine: matches of the small pictures a network sees, followed to the pixels of the photographs.

The network looks again at windows of both photographs that coarse matches connect, at full resolution (MASt3R, Leroy et
al. 2024, section 3.3). A match keeps its anchor, so that all pairs of a photograph go on sharing keypoints; its other
end is found again in the other window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from PIL import Image

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.images.load import load_pixels
from dust3r_sfm.images.resize import Grid, network_grid
from dust3r_sfm.matching.anchored import inside_border, peak
from dust3r_sfm.matching.descriptors import Described, Nearest, nearest
from dust3r_sfm.matching.mutual import raw_from_network
from dust3r_sfm.options import MatchOptions
from dust3r_sfm.predictors.predictor import PairPredictor, PredictsPixels
from dust3r_sfm.types import Matches, Size, View

_COVERED_OF_MATCHES = 0.9
"""Share of the matches (by weight) that the chosen windows see. Chosen by hand."""

_FEWEST = 10
"""Matches below which a pair of windows is not worth a look, and a second look at a pair says nothing. Chosen by
hand."""

_LEAST_GAIN = 1.5
"""Photographs less than so many times larger than what the network saw gain nothing. Chosen by hand."""

_SCALES = (1.25, 4.0)
"""Windows are shrunk where the photographs' scales differ by more than the first of these, at most by the second.
Chosen by hand."""

_SMALLEST_SPREAD_PX = 20.0
"""In pixels; less says nothing about the scale between two windows. Chosen by hand."""

_TOLERANCE_WINDOW_PX = 3.0
"""A match leads back to its anchor within so many pixels of the window. Chosen by hand."""

_REACH_NETWORK_PX = 4.0
"""A match ends within so many pixels of the coarse network picture of where it ended there. Chosen by hand."""

_PHOTOGRAPHS_IN_MEMORY = 4
"""Full-size photographs kept in memory. Chosen by hand."""

Boxes = Int64[np.ndarray, "k 4"]
"""Left, top, right, bottom of windows."""


class FineMatcher:
    """Follows coarse matches to the pixels of the photographs.

    Args:
        predictor: describes pixels, see `require_descriptors`.
        views: the photographs.
        options: `fine_size`, and the lattice of the coarse matches.
        search: how neighbours are found, see `descriptors.nearest_on`.
    """

    def __init__(
        self, predictor: PredictsPixels, views: Sequence[View], options: MatchOptions, search: Nearest = nearest
    ) -> None:
        self._predictor = predictor
        self._views = views
        self._fine = [fine_view(view, options.fine_size) for view in views]
        self._options = options
        self._search = search
        self._pixels = lru_cache(_PHOTOGRAPHS_IN_MEMORY)(lambda image: load_pixels(self._fine[image]))

    def refine(self, matches: Matches) -> Matches:
        """The matches that windows confirm, with anchors as they were and ends between the photographs' pixels.

        Pairs of small photographs, and those of which windows confirm next to nothing, keep their coarse matches.
        """
        images = (matches.image1, matches.image2)
        coarse, fine = [self._views[k] for k in images], [self._fine[k] for k in images]
        if len(matches.xy1) < _FEWEST or max(map(_gain, coarse, fine)) < _LEAST_GAIN:
            return matches
        xy = [_to_network(xy, view) for xy, view in zip((matches.xy1, matches.xy2), fine, strict=True)]
        first_is_anchor = _is_anchor(_to_network(matches.xy1, coarse[0]), self._options.match_stride)
        boxes, best = choose_windows(xy, [v.network_size for v in fine], [v.network_size for v in coarse])

        ends = np.full((len(best), 2), np.nan)
        confidence = np.zeros(len(best))
        for k, sides in enumerate(self._described(images, boxes, [view.network_size for view in coarse])):
            for source, is_anchor in ((0, first_is_anchor), (1, ~first_is_anchor)):
                rows, target = np.flatnonzero((best == k) & is_anchor), 1 - source
                window, other = (_Window(box=boxes[side][k], described=sides[side]) for side in (source, target))
                reach, here, there = (
                    _REACH_NETWORK_PX * _gain(coarse[target], fine[target]),
                    xy[source][rows],
                    xy[target][rows],
                )
                ends[rows], confidence[rows] = _follow(window, other, here, there, reach, self._search)
        ended = np.isfinite(ends[:, 0])
        if ended.sum() < _FEWEST:
            return matches
        first, second = ended & ~first_is_anchor, ended & first_is_anchor
        xy1, xy2 = matches.xy1.copy(), matches.xy2.copy()
        xy1[first] = raw_from_network(ends[first], fine[0])
        xy2[second] = raw_from_network(ends[second], fine[1])
        return replace(matches, xy1=xy1[ended], xy2=xy2[ended], confidence=confidence[ended])

    def _described(
        self, images: tuple[int, int], boxes: Sequence[Boxes], sizes: Sequence[Size]
    ) -> Iterator[tuple[Described, Described]]:
        """Both windows of each pair of them, as the network describes them."""
        cut = [
            [_cut(self._pixels(image), box, size) for box in some]
            for image, some, size in zip(images, boxes, sizes, strict=True)
        ]
        for prediction in self._predictor.predict_pixels(list(zip(*cut, strict=True))):
            yield Described.of(prediction, 1, self._options), Described.of(prediction, 2, self._options)


def require_descriptors(predictor: PairPredictor) -> PredictsPixels:
    """Return the predictor if it describes pixels.

    Raises:
        PredictorError: for one that does not.
    """
    if isinstance(predictor, PredictsPixels) and bool(getattr(predictor, "descriptor_size", None)):
        return predictor
    raise PredictorError(
        f"'{predictor.name}' describes no pixels, so there is nothing to match in full-size photographs; leave out "
        "--fine-size, or use --predictor mast3r-512."
    )


def fine_view(view: View, size: int | None) -> View:
    """The photograph on a grid whose long side is `size` at most (0: as large as the photograph is), uncropped."""
    longer = max(view.size)
    network_size, network_from_image = network_grid(
        view.size, view.orientation, Grid(size=min(size or longer, longer), multiple_of=1)
    )
    return replace(view, network_size=network_size, network_from_image=network_from_image)


def choose_windows(
    xy: Sequence[Float64[np.ndarray, "m 2"]], sizes: Sequence[Size], window_sizes: Sequence[Size]
) -> tuple[list[Boxes], Int64[np.ndarray, " m"]]:
    """Choose pairs of windows, best first, until they see nine tenths of the matches (by weight).

    Candidates are the windows of a half-overlapping grid on either photograph, each with a window about its matches in
    the other one: larger where these are spread wider, so that both show things at one scale, but never magnified.
    What is near the border of a window counts less.

    Args:
        xy: positions of the matches in both photographs, in pixels of grids of these `sizes`.
        sizes: (width, height) of the two grids.
        window_sizes: (width, height) of a window in either.

    Returns:
        boxes of the chosen windows in either photograph, and for each match the pair of windows that sees it best
        (-1: none does).
    """
    candidates: list[list[Boxes]] = [[], []]
    for one, other in ((0, 1), (1, 0)):
        for box in _overlapping_grid(sizes[one], window_sizes[one]):
            seen = _closeness(xy[one], box[None])[0] > 0
            if seen.sum() >= _FEWEST:
                partner = _about(xy[one][seen], xy[other][seen], sizes[other], window_sizes[other])
                candidates[one].append(box[None])
                candidates[other].append(partner[None])
    if not candidates[0]:
        return [np.zeros((0, 4), dtype=np.int64)] * 2, np.full(len(xy[0]), -1)
    boxes = [np.concatenate(some) for some in candidates]
    weights = np.minimum(_closeness(xy[0], boxes[0]), _closeness(xy[1], boxes[1]))
    reachable, seen_so_far, chosen = weights.max(axis=0).sum(), np.zeros(weights.shape[1]), []
    while seen_so_far.sum() < _COVERED_OF_MATCHES * reachable:
        gains = np.maximum(weights - seen_so_far, 0).sum(axis=1)
        if gains.max() < 1:
            break
        chosen.append(int(gains.argmax()))
        seen_so_far = np.maximum(seen_so_far, weights[chosen[-1]])
    best = np.where(seen_so_far > 0, weights[chosen].argmax(axis=0), -1)
    return [some[chosen] for some in boxes], best


@dataclass(frozen=True, kw_only=True)
class _Window:
    """A described window of a photograph; its box is in pixels of the fine grid."""

    box: Int64[np.ndarray, "4"]
    described: Described

    @property
    def scale(self) -> Float64[np.ndarray, "2"]:
        """Pixels of the fine grid in one of the window, along x and y."""
        scale: Float64[np.ndarray, " 2"] = (self.box[2:] - self.box[:2]) / np.array(self.described.shape[::-1])
        return scale


def _follow(
    source: _Window,
    target: _Window,
    anchors: Float64[np.ndarray, "m 2"],
    guesses: Float64[np.ndarray, "m 2"],
    reach: float,
    search: Nearest,
) -> tuple[Float64[np.ndarray, "m 2"], Float64[np.ndarray, " m"]]:
    """Where anchors of one window end in the other (fine pixels; NaN where they do not), and how surely."""
    ends, confidence = np.full(anchors.shape, np.nan), np.zeros(len(anchors))
    if len(anchors) == 0:
        return ends, confidence
    (height, width), points = source.described.shape, target.described.points
    at = (anchors - source.box[:2]) / source.scale
    queries = _between(source.described, at)
    there = search(queries, target.described.table)
    back = search(target.described.table[there], source.described.table)
    end = points.pixels(there) + peak(queries, target.described, there)
    ends_fine = end * target.scale + target.box[:2]
    kept = np.linalg.norm(source.described.points.pixels(back) - at, axis=1) < _TOLERANCE_WINDOW_PX
    kept &= np.linalg.norm(ends_fine - guesses, axis=1) <= reach
    kept &= points.is_known[there] & inside_border(points.pixels(there), target.described.shape)
    ends[kept] = ends_fine[kept]
    nearest_pixel = np.clip(at.astype(np.int64), 0, [width - 1, height - 1])
    own = source.described.confidence[nearest_pixel[:, 1] * width + nearest_pixel[:, 0]]
    confidence[kept] = np.sqrt(own[kept].astype(np.float64) * target.described.confidence[there[kept]])
    return ends, confidence


def _between(described: Described, at: Float64[np.ndarray, "m 2"]) -> Float32[np.ndarray, "m d"]:
    """Descriptors between pixels: of the four around, weighted bilinearly."""
    height, width = described.shape
    low = np.clip(np.floor(at - 0.5).astype(np.int64), 0, [width - 2, height - 2])
    right, down = np.clip(at - 0.5 - low, 0.0, 1.0).T.astype(np.float32)[..., None]
    first = low[:, 1] * width + low[:, 0]
    table = described.table
    above = (1 - right) * table[first] + right * table[first + 1]
    below = (1 - right) * table[first + width] + right * table[first + width + 1]
    mixed: Float32[np.ndarray, "m d"] = (1 - down) * above + down * below
    return mixed


def _overlapping_grid(size: Size, window: Size) -> Boxes:
    """Windows that overlap by half at least and reach all borders."""
    starts = [
        np.linspace(0, max(0, length - side), 1 + -(-max(0, length - side) * 2 // side)).round().astype(np.int64)
        for length, side in zip(size, window, strict=True)
    ]
    left, top = (axis.ravel() for axis in np.meshgrid(*starts))
    return np.stack([left, top, np.minimum(left + window[0], size[0]), np.minimum(top + window[1], size[1])], axis=1)


def _about(
    seen: Float64[np.ndarray, "m 2"], others: Float64[np.ndarray, "m 2"], size: Size, window: Size
) -> Int64[np.ndarray, "4"]:
    """The window about the matches of another one: as much larger as they are spread wider, inside the photograph."""
    spreads = [
        np.maximum(np.ptp(np.quantile(xy, (0.25, 0.75), axis=0), axis=0), _SMALLEST_SPREAD_PX) for xy in (seen, others)
    ]
    scale = np.sqrt(np.prod(spreads[1] / spreads[0]))
    fits = min(size[0] / window[0], size[1] / window[1], _SCALES[1])
    scale = max(1.0, min(scale, fits)) if scale > _SCALES[0] else 1.0
    sides = np.minimum(np.rint(np.array(window) * scale), size).astype(np.int64)
    start = np.clip(np.rint(np.median(others, axis=0) - sides / 2).astype(np.int64), 0, size - sides)
    return np.concatenate([start, start + sides])


def _closeness(xy: Float64[np.ndarray, "m 2"], boxes: Boxes) -> Float64[np.ndarray, "k m"]:
    """How far inside each box positions are: 0 outside, 1 from a quarter of the shorter side on."""
    inside = np.minimum(xy - boxes[:, None, :2], boxes[:, None, 2:] - xy).min(axis=2)
    quarter = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, keepdims=True) / 4
    closeness: Float64[np.ndarray, "k m"] = np.clip(inside / quarter, 0.0, 1.0)
    return closeness


def _cut(pixels: UInt8[np.ndarray, "h w 3"], box: Int64[np.ndarray, "4"], size: Size) -> UInt8[np.ndarray, "_ _ 3"]:
    left, top, right, bottom = box.tolist()
    window = pixels[top:bottom, left:right]
    if window.shape[1::-1] == size:
        return window
    return np.asarray(Image.fromarray(window).resize(size, Image.Resampling.LANCZOS))


def _gain(coarse: View, fine: View) -> float:
    """Pixels of the fine grid in one of the coarse grid."""
    areas = [abs(np.linalg.det(view.network_from_image[:2, :2])) for view in (fine, coarse)]
    return float(np.sqrt(areas[0] / areas[1]))


def _to_network(xy: Float64[np.ndarray, "m 2"], view: View) -> Float64[np.ndarray, "m 2"]:
    moved: Float64[np.ndarray, "m 2"] = xy @ view.network_from_image[:2, :2].T + view.network_from_image[:2, 2]
    return moved


def _is_anchor(xy: Float64[np.ndarray, "m 2"], stride: int) -> Bool[np.ndarray, " m"]:
    """Which positions, in network pixels, are on the lattice of anchors."""
    cells = (xy - 0.5 - stride // 2) / stride
    on_lattice: Bool[np.ndarray, " m"] = np.all(np.abs(cells - np.rint(cells)) < 1e-6, axis=1)
    return on_lattice
