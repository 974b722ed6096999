"""Features and matches of a set of photographs by one matcher, each made once and kept in hloc's files."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import h5py

from dust3r_sfm.features.features import Features, append_features, names_in, read_features
from dust3r_sfm.features.matcher import FeatureMatcher, RowMatches
from dust3r_sfm.hloc import pair_name, read_matches, write_matches
from dust3r_sfm.system.parallel import map_ordered, num_cores
from dust3r_sfm.types import Edge, View

Item = TypeVar("Item")
Result = TypeVar("Result")

FEATURES, MATCHES = "features.h5", "matches.h5"
"""Files of the folder."""


class MatchedFeatures:
    """What a matcher finds in photographs, made when it is asked for.

    Whatever lies in the folder already is not made again, so a killed run goes on.
    """

    def __init__(self, matcher: FeatureMatcher, views: Sequence[View], folder: Path | None, num_workers: int) -> None:
        """
        Args:
            matcher: finds and matches.
            views: the photographs.
            folder: keeps both files; None keeps all in memory alone.
            num_workers: threads; 0: one per core.
        """
        self.matcher, self.views = matcher, tuple(views)
        self._folder, self._num_workers = folder, num_cores(num_workers)
        self._features: dict[int, Features] = {}
        self._matches: dict[Edge, RowMatches] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            known = names_in(folder / FEATURES)
            kept = [index for index, view in enumerate(self.views) if view.name in known]
            if kept:
                found = read_features(folder / FEATURES, [self.views[index] for index in kept])
                self._features.update(zip(kept, found, strict=True))

    def features(self, images: Collection[int]) -> dict[int, Features]:
        """Features of some photographs, in raw pixels."""
        missing = sorted(set(images) - self._features.keys())
        found = self._map(lambda index: self.matcher.extract(self.views[index]), missing)
        for index, features in zip(missing, found, strict=True):
            self._features[index] = features
            if self._folder is not None:  # as the file remembers it: a resumed run equals an unbroken one
                append_features(self._folder / FEATURES, self.views[index], features)
                self._features[index] = read_features(self._folder / FEATURES, [self.views[index]])[0]
        return {index: self._features[index] for index in images}

    def match(self, edges: Collection[Edge]) -> dict[Edge, RowMatches]:
        """Matches of some pairs (i, j), as rows of the features of both."""
        features = self.features({image for edge in edges for image in edge})
        for edge in edges:
            if edge not in self._matches and (kept := self._kept(edge)) is not None:
                self._matches[edge] = kept
        missing = [edge for edge in dict.fromkeys(edges) if edge not in self._matches]

        def match(edge: Edge) -> RowMatches:
            i, j = edge
            return self.matcher.match(features[i], features[j], self.views[i], self.views[j])

        for edge, matches in zip(missing, self._map(match, missing), strict=True):
            self._matches[edge] = matches
            if self._folder is not None:
                self._keep(self._folder / MATCHES, edge, matches, len(features[edge[0]].xy))
        return {edge: self._matches[edge] for edge in edges}

    def known(self) -> list[Edge]:
        """The pairs (i, j), i < j, whose matches are in memory or in the folder."""
        with_features = sorted(self._features)
        edges = [(i, j) for i in with_features for j in with_features if i < j]
        return [edge for edge in edges if edge in self._matches or self._kept(edge) is not None]

    def _kept(self, edge: Edge) -> RowMatches | None:
        """Matches that lie in the folder; a file that a killed run damaged is removed."""
        path = None if self._folder is None else self._folder / MATCHES
        if path is None or not path.is_file():
            return None
        try:
            with h5py.File(path, "r") as file:
                return read_matches(file, *(self.views[index].name for index in edge))
        except (OSError, LookupError, RuntimeError):
            path.unlink()
            return None

    def _keep(self, path: Path, edge: Edge, matches: RowMatches, num_keypoints: int) -> None:
        rows, scores = matches
        with h5py.File(path, "a") as file:
            key = pair_name(*(self.views[index].name for index in edge))
            if key in file:
                del file[key]
            write_matches(file.create_group(key), rows, num_keypoints, scores)

    def _map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        if items:
            self.matcher.check()  # once, not in every thread
        return map_ordered(function, items, self._num_workers)
