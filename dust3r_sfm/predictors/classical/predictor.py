"""The predictor `classical`: what the stages of this folder make of a set of photographs."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32, Float64

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.features.matched import MatchedFeatures
from dust3r_sfm.features.matcher import choose_matcher, matcher_facts
from dust3r_sfm.geometry.pinhole import pixel_scale
from dust3r_sfm.geometry.transforms import compose, invert
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.options import PredictorOptions
from dust3r_sfm.predictors.classical.consensus import choose
from dust3r_sfm.predictors.classical.describe import describe_keypoints
from dust3r_sfm.predictors.classical.evidence import PairEvidence
from dust3r_sfm.predictors.classical.flow import Picture
from dust3r_sfm.predictors.classical.focal import DEFAULT_FOCAL_OF_SIDE, find_lenses
from dust3r_sfm.predictors.classical.lens import Lens
from dust3r_sfm.predictors.classical.picture import load_picture
from dust3r_sfm.predictors.classical.pointmap import StereoPair, failed_pair, predict_pair
from dust3r_sfm.predictors.classical.pose import PosedPair, estimate_poses, find_turn, known_pose
from dust3r_sfm.predictors.classical.sampson import CalibratedMatches
from dust3r_sfm.predictors.classical.sift import Keypoints, find_keypoints, match_keypoints
from dust3r_sfm.predictors.classical.strong_lens import find_strong_lenses, suspected
from dust3r_sfm.predictors.classical.turning import turned_besides
from dust3r_sfm.predictors.classical.undecided import with_learned
from dust3r_sfm.system.parallel import map_ordered, num_cores
from dust3r_sfm.system.progress import phase
from dust3r_sfm.types import Edge, ImageSet, KnownCamera, PairGraph, PairPrediction, View

Item = TypeVar("Item")
Result = TypeVar("Result")


class ClassicalPredictor:
    """SIFT + flow stereo, no network; its confidence is heuristic.

    It returns what DUSt3R returns, for photographs that overlap: pointmaps along the rays of a camera whose focal
    length and radial distortion it finds from the whole set. Confidence is 1 where nothing is known, `GUESSED` where
    depth was filled in from the neighbourhood, up to 20 where it was measured. A pair without enough matches or without
    a baseline is a plane with confidence 1 everywhere.
    """

    name = "classical"
    licence = "Apache-2.0"
    weights = ""

    def __init__(self, options: PredictorOptions, seed: int) -> None:
        """
        Raises:
            PredictorError: when weights are given; there is nothing to load them into.
        """
        if options.weights is not None:
            raise PredictorError(f"The predictor 'classical' takes no weights; drop --weights {options.weights}.")
        self.grid = Grid(size=512, multiple_of=1)
        self._seed = seed
        self._num_workers = num_cores(options.num_workers)
        self._matcher = choose_matcher(options.matcher, options.matcher_weights, options.device)
        self._folder: Path | None = None
        self._keypoints: dict[str, Keypoints] = {}
        self._lenses: dict[str, Lens] = {}
        self.evidence: PairEvidence | None = None
        self._prepared: frozenset[Edge] = frozenset()
        self._pairs: dict[Edge, StereoPair] = {}

    @property
    def matcher_mark(self) -> str:
        """Name and weights of the learned matcher; empty where SIFT is alone."""
        return "" if self._matcher is None else json.dumps(matcher_facts(self._matcher))

    def keep_in(self, folder: Path) -> None:
        """Keep learned features and matches in a folder, from which a killed run goes on."""
        self._folder = folder

    def find_strong_lenses(self, views: Sequence[View]) -> dict[str, KnownCamera]:
        """Rough lenses of photographs that no pinhole stands for, by name; empty unless all are such."""
        if not suspected(views):
            return {}
        return find_strong_lenses(views, self._find_keypoints(views), self._seed, self._num_workers)

    def prepare(self, images: ImageSet, graph: PairGraph) -> None:
        """Match all pairs, find the lenses jointly, then the relative poses that the whole set believes."""
        views = images.views
        edges = sorted({(min(i, j), max(i, j)) for i, j in graph.edges.tolist()})
        phase("keypoints")
        keypoints = self._find_keypoints(views)

        def match(edge: Edge) -> CalibratedMatches:
            first, second = keypoints[edge[0]], keypoints[edge[1]]
            index = match_keypoints(first, second)
            return CalibratedMatches(xy1=first.xy[index[:, 0]], xy2=second.xy[index[:, 1]])

        phase("matches")
        matches = dict(zip(edges, self._map(match, edges), strict=True))
        num_keypoints = [len(each.xy) for each in keypoints]
        self._keypoints.clear()
        if self._matcher is not None:
            phase("learned matches")
            learned = MatchedFeatures(self._matcher, views, self._folder, self._num_workers)
            matches = with_learned(matches, learned, self._seed, self._num_workers)
        priors = [_prior_focal(view) for view in views]
        start = [
            Lens(size=view.network_size, focal=prior or DEFAULT_FOCAL_OF_SIDE * max(view.network_size))
            if view.known_intrinsics is None
            else Lens.of_known(view)
            for view, prior in zip(views, priors, strict=True)
        ]
        phase("focal lengths")
        lenses = find_lenses(
            start,
            [prior is not None for prior in priors],
            [2 * view.camera_group + lens.is_known for view, lens in zip(views, start, strict=True)],
            matches,
            self._seed,
            self._num_workers,
        )

        def pose(edge: Edge) -> list[PosedPair]:
            known = _known_pose(views[edge[0]], views[edge[1]])
            if known is not None:
                return known_pose(known, matches[edge], lenses[edge[0]], lenses[edge[1]])
            hypotheses_of_pair = estimate_poses(matches[edge], lenses[edge[0]], lenses[edge[1]], self._seed)
            return [hypothesis for hypothesis in hypotheses_of_pair if hypothesis.usable]

        phase("poses")
        hypotheses = dict(zip(edges, self._map(pose, edges), strict=True))
        given = {edge for edge in edges if _known_pose(views[edge[0]], views[edge[1]]) is not None}
        turned = self._without_turned(hypotheses, matches, lenses, given)
        self._pairs = {
            edge: StereoPair(
                cam2_from_cam1=hypotheses[edge][choice.index].cam2_from_cam1,
                points=matches[edge].subset(hypotheses[edge][choice.index].inlier),
                belief=1.0 if edge in given else choice.belief,
            )
            for edge, choice in choose(hypotheses, self._seed).items()
            if edge in given or choice.is_kept
        }
        self.evidence = PairEvidence(
            num_pairs=len(edges),
            num_posed=len(self._pairs),
            num_turned=len(turned),
            num_keypoints=int(np.median(num_keypoints)),
        )
        self._prepared = frozenset(edges)
        self._lenses = {view.name: lens for view, lens in zip(views, lenses, strict=True)}

    def _without_turned(
        self,
        hypotheses: dict[Edge, list[PosedPair]],
        matches: Mapping[Edge, CalibratedMatches],
        lenses: Sequence[Lens],
        given: set[Edge],
    ) -> set[Edge]:
        """Take the poses of pairs that only turned out of the hypotheses, and give those pairs."""
        silent = [edge for edge, found in hypotheses.items() if not found and edge not in given]
        found = self._map(lambda edge: find_turn(matches[edge], lenses[edge[0]], lenses[edge[1]], self._seed), silent)
        turns = {edge: turn for edge, turn in zip(silent, found, strict=True) if turn is not None}
        posed = {
            edge: matches[edge].subset(found[0].inlier)
            for edge, found in hypotheses.items()
            if found and edge not in given
        }
        besides = turned_besides(turns, posed, lenses)
        hypotheses.update({edge: [] for edge in besides})
        return besides | set(turns)

    def encode(self, views: Sequence[View]) -> Sequence[Any]:
        """Load the photographs as the stereo sees them."""
        return list(self._map(lambda view: (load_picture(view, self._lens(view)), self._lens(view)), views))

    def predict(self, features: Mapping[int, Any], edges: Sequence[Edge]) -> Iterator[tuple[Edge, PairPrediction]]:
        """Yield the predictions; the two directions of a pair that stand together share their work."""
        groups: list[list[Edge]] = []
        for edge in edges:
            if groups and groups[-1][0] == edge[::-1] and len(groups[-1]) == 1:
                groups[-1].append(edge)
            else:
                groups.append([edge])

        def predict(group: list[Edge]) -> list[tuple[Edge, PairPrediction]]:
            low, high = sorted(group[0])
            forward, backward = self._predict_pair(low, high, features[low], features[high])
            return [(edge, forward if edge == (low, high) else backward) for edge in group]

        for predictions in self._map(predict, groups):
            yield from predictions

    def describe(self, views: Sequence[View]) -> Float32[np.ndarray, "n d"]:
        """Aggregate each photograph's SIFT descriptors over a vocabulary of the set itself."""
        return describe_keypoints(self._find_keypoints(views), self._seed)

    def _predict_pair(
        self, low: int, high: int, feature1: tuple[Picture, Lens], feature2: tuple[Picture, Lens]
    ) -> tuple[PairPrediction, PairPrediction]:
        if (low, high) not in self._prepared:
            raise PredictorError(f"The pair ({low}, {high}) is not in the graph that was prepared; prepare it first.")
        (picture1, lens1), (picture2, lens2) = feature1, feature2
        pair = self._pairs.get((low, high))
        if pair is None:
            return failed_pair(lens1, lens2), failed_pair(lens2, lens1)
        return predict_pair(picture1, picture2, lens1, lens2, pair)

    def _find_keypoints(self, views: Sequence[View]) -> list[Keypoints]:
        missing = [view for view in views if view.name not in self._keypoints]
        for view, keypoints in zip(missing, self._map(find_keypoints, missing), strict=True):
            self._keypoints[view.name] = keypoints
        return [self._keypoints[view.name] for view in views]

    def _lens(self, view: View) -> Lens:
        if view.name not in self._lenses:
            raise PredictorError(f"{view.name} was not in the set that was prepared; prepare the set with it first.")
        return self._lenses[view.name]

    def _map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        return map_ordered(function, items, self._num_workers)


def _known_pose(view1: View, view2: View) -> Float64[np.ndarray, "3 4"] | None:
    """The pose of camera 2 relative to camera 1 where both are known."""
    if view1.known_cam_from_world is None or view2.known_cam_from_world is None:
        return None
    return compose(view2.known_cam_from_world, invert(view1.known_cam_from_world))


def _prior_focal(view: View) -> float | None:
    """The EXIF focal length in network pixels."""
    if view.focal_prior is None:
        return None
    return view.focal_prior * pixel_scale(view.network_from_image)
