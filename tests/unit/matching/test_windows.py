"""A wall painted with its own coordinates: whoever reads the pixels of a window knows exactly what it shows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.geometry import pinhole, transforms
from dust3r_sfm.matching.pair import match_pair
from dust3r_sfm.matching.windows import FineMatcher, choose_windows, fine_view, require_descriptors
from dust3r_sfm.options import MatchOptions, PredictOptions
from dust3r_sfm.predictors.predictor import PixelPair, load_predictor
from dust3r_sfm.types import Matches, PairPrediction, View

OPTIONS = MatchOptions(match_stride=4, fine_size=0)
DISTANCE, NORMAL = 4.0, np.array([0.2, -0.1, 1.0])
LOW, EXTENT, LEVELS = -4.0, 8.0, 4096
SIZE, FACTOR = (384, 256), 4  # of the photographs; how many of their pixels are in one that the network sees


def code(places: np.ndarray) -> np.ndarray:
    """Unit descriptors (…, 24) of places on the wall, smooth over about a tenth of a network pixel and more."""
    rng = np.random.default_rng(0)
    waves, phases, mixed = rng.normal(0, 9, (2, 256)), rng.uniform(0, 6, 256), rng.normal(0, 0.1, (256, 24))
    codes = np.sin(places @ waves + phases) @ mixed
    return (codes / np.linalg.norm(codes, axis=-1, keepdims=True)).astype(np.float32)


def painted(places: np.ndarray) -> np.ndarray:
    """x and y of the wall as two numbers of 12 bits in the three channels of a picture."""
    x, y = np.clip((places - LOW) / EXTENT * LEVELS, 0, LEVELS - 1).astype(np.int64).transpose(2, 0, 1)
    return np.stack([x >> 4, (x & 15) << 4 | y >> 8, y & 255], axis=2).astype(np.uint8)


def read(pixels: np.ndarray) -> np.ndarray:
    red, green, blue = pixels.astype(np.int64).transpose(2, 0, 1)
    return (np.stack([red << 4 | green >> 4, (green & 15) << 8 | blue], axis=2) + 0.5) / LEVELS * EXTENT + LOW


class Reader:
    """A predictor that reads the paint."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def predict_pixels(self, pairs: Sequence[PixelPair]) -> Iterator[PairPrediction]:
        for pair in pairs:
            self.sizes += [pixels.shape[1::-1] for pixels in pair]
            one, two = (np.ones(pixels.shape[:2], np.float32) for pixels in pair)
            first, second = (read(pixels) for pixels in pair)
            yield PairPrediction(
                points1=np.zeros((*one.shape, 3), np.float32),
                confidence1=2 * one,
                points2=np.zeros((*two.shape, 3), np.float32),
                confidence2=2 * two,
                descriptors1=code(first),
                descriptors2=code(second),
                descriptor_confidence1=4 * one,
                descriptor_confidence2=9 * two,
            )


class Guesser(Reader):
    """A predictor whose descriptors mean nothing."""

    def predict_pixels(self, pairs: Sequence[PixelPair]) -> Iterator[PairPrediction]:
        rng = np.random.default_rng(0)
        for prediction in super().predict_pixels(pairs):
            noise = [rng.standard_normal((64, 96, 24), np.float32) for _ in range(2)]
            yield replace(prediction, descriptors1=noise[0], descriptors2=noise[1])


@pytest.fixture
def views(pair: Any, tmp_path: Path) -> list[View]:
    """Both photographs of the wall, painted."""
    views = []
    matrix = np.diag([FACTOR, FACTOR, 1.0]) @ pair.intrinsics
    for name, cam_from_1 in (("first.png", np.eye(4)[:3]), ("second.png", pair.cam2_from_cam1)):
        rays = pinhole.rays(SIZE[1], SIZE[0], matrix) @ cam_from_1[:, :3]
        centre = transforms.centres(cam_from_1)
        places = centre + rays * ((DISTANCE - NORMAL @ centre) / (rays @ NORMAL))[..., None]
        Image.fromarray(painted(places[..., :2])).save(tmp_path / name)
        network_from_image = np.diag([1 / FACTOR, 1 / FACTOR, 1.0])
        views.append(
            replace(pair.view, name=name, path=tmp_path / name, size=SIZE, network_from_image=network_from_image)
        )
    return views


@pytest.fixture
def coarse(pair: Any, views: list[View]) -> Matches:
    """What the same descriptors say of the network pictures."""
    places = [points[..., :2].astype(np.float64) for points in (pair.forward.points1, pair.forward.points2)]
    ones = np.ones(pair.forward.confidence1.shape, np.float32)
    prediction = replace(
        pair.forward,
        descriptors1=code(places[0]),
        descriptors2=code(places[1]),
        descriptor_confidence1=ones,
        descriptor_confidence2=ones,
    )
    return match_pair(prediction, None, tuple(views), (0, 1), OPTIONS)


def errors(pair: Any, matches: Matches) -> np.ndarray:
    """Distances in pixels of the photographs between where a match ends and where it should."""
    matrix = np.diag([FACTOR, FACTOR, 1.0]) @ pair.intrinsics
    rays = np.column_stack([(matches.xy1 - matrix[:2, 2]) / matrix[[0, 1], [0, 1]], np.ones(len(matches.xy1))])
    points = rays * (DISTANCE / (rays @ NORMAL))[:, None]
    seen = pinhole.project(transforms.apply(pair.cam2_from_cam1, points), matrix)
    return np.linalg.norm(seen - matches.xy2, axis=1)


def test_ends_come_to_the_pixels_of_the_photographs(pair: Any, views: list[View], coarse: Matches) -> None:
    reader = Reader()
    fine = FineMatcher(reader, views, OPTIONS).refine(coarse)
    before, after = errors(pair, coarse), errors(pair, fine)
    assert len(fine.xy1) > 0.75 * len(coarse.xy1)
    # The coarse ends are right to a tenth of a network pixel, which is half a pixel here; the paint has steps of 0.2.
    assert np.median(before) > 0.3 and np.quantile(before, 0.9) > 0.6
    assert np.median(after) < 0.15 and np.quantile(after, 0.9) < 0.3
    np.testing.assert_allclose(fine.confidence, 6.0)
    # Windows are as large as the picture that the network saw, and fewer than a grid over both would be.
    assert set(reader.sizes) == {views[0].network_size} and len(reader.sizes) < 2 * 7**2


def test_anchors_stay_where_they_were(views: list[View], coarse: Matches) -> None:
    fine = FineMatcher(Reader(), views, OPTIONS).refine(coarse)
    rows = {tuple(row) for row in np.column_stack([coarse.xy1, coarse.xy2])[:, :2]}
    others = {tuple(row) for row in coarse.xy2}
    kept = [tuple(one) in rows for one in fine.xy1]
    assert all(first or tuple(second) in others for first, second in zip(kept, fine.xy2, strict=True))
    assert 0 < sum(kept) < len(kept)


def test_what_windows_do_not_confirm_goes(pair: Any, views: list[View], coarse: Matches) -> None:
    wrong = coarse.xy2.copy()
    wrong[::5] += 75.0
    fine = FineMatcher(Reader(), views, OPTIONS).refine(replace(coarse, xy2=wrong))
    assert 100 < len(fine.xy1) < len(coarse.xy1) and np.quantile(errors(pair, fine), 0.99) < 4


def test_without_enough_to_go_by_matches_stay(views: list[View], coarse: Matches) -> None:
    matcher = FineMatcher(Reader(), views, OPTIONS)
    few = replace(coarse, xy1=coarse.xy1[:5], xy2=coarse.xy2[:5], confidence=coarse.confidence[:5])
    assert matcher.refine(few) is few
    assert FineMatcher(Guesser(), views, OPTIONS).refine(coarse) is coarse
    small = FineMatcher(Reader(), views, replace(OPTIONS, fine_size=100))
    assert small.refine(coarse) is coarse


def test_windows_show_both_photographs_at_one_scale() -> None:
    """The second photograph stands three times nearer: its windows are three times as large."""
    rng = np.random.default_rng(0)
    first = rng.uniform((600, 400), (1400, 1000), (3000, 2))
    second = (first - (1000, 700)) * 2.5 + (1000, 750)
    boxes, best = choose_windows([first, second], [(2000, 1500)] * 2, [(512, 384)] * 2)
    sides = [some[:, 2:] - some[:, :2] for some in boxes]
    ratio = np.median(sides[1] / sides[0])
    assert 1.8 < ratio < 3.2
    assert all((some[:, :2] >= 0).all() and (some[:, 2:] <= (2000, 1500)).all() for some in boxes)
    seen = best >= 0
    assert seen.mean() > 0.9
    for xy, some in zip((first, second), boxes, strict=True):
        inside = (xy[seen] >= some[best[seen], :2]) & (xy[seen] < some[best[seen], 2:])
        assert inside.all()


def test_the_fine_grid_is_upright_and_whole(views: list[View]) -> None:
    turned = replace(views[0], orientation=6)
    fine = fine_view(turned, 0)
    assert fine.network_size == (256, 384)
    corner = fine.network_from_image @ [0.0, 256.0, 1.0]
    np.testing.assert_allclose(corner[:2], (0, 0), atol=1e-9)
    assert fine_view(turned, 300).network_size == (200, 300) and fine_view(turned, 5000).network_size == (256, 384)


def test_a_predictor_without_descriptors_is_refused() -> None:
    with pytest.raises(PredictorError, match=r"'classical' describes no pixels.*mast3r-512"):
        require_descriptors(load_predictor(PredictOptions(), 0))
