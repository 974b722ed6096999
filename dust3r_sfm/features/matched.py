"""Features and matches of a set of photographs by one matcher, each made once and kept in hloc's files."""

import contextlib
import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import h5py

from dust3r_sfm.errors import InputError
from dust3r_sfm.features.features import Features, growing_features, names_in, read_features
from dust3r_sfm.features.matcher import FeatureMatcher, RowMatches, matcher_facts
from dust3r_sfm.hloc import pair_name, read_matches, write_matches
from dust3r_sfm.system.hdf5 import DAMAGED, entry
from dust3r_sfm.system.hdf5_writer import GrowingFile, new_file
from dust3r_sfm.system.parallel import map_ordered, num_cores
from dust3r_sfm.types import Edge, View

Item = TypeVar("Item")
Result = TypeVar("Result")

FEATURES, MATCHES = "features.h5", "matches.h5"
"""Files of the folder."""

_MARK = "matcher"
"""Attribute of both files: the matcher, and the checksums of its weights."""


class MatchedFeatures:
    """What a matcher finds in photographs, made when it is asked for.

    Whatever lies in the folder already, by the same matcher and weights, is not made again, so a killed run goes on.
    """

    def __init__(
        self,
        matcher: FeatureMatcher,
        views: Sequence[View],
        folder: Path | None,
        num_workers: int,
        known_in: Sequence[Path] = (),
    ) -> None:
        """
        Args:
            matcher: finds and matches.
            views: the photographs.
            folder: keeps both files; None keeps all in memory alone.
            num_workers: threads; 0: one per core.
            known_in: folders of others, which are only read.
        """
        self.matcher, self.views = matcher, tuple(views)
        self._folder, self._num_workers = folder, num_cores(num_workers)
        self._features: dict[int, Features] = {}
        self._matches: dict[Edge, RowMatches] = {}
        for other in known_in:
            self._read(other)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for file in self._read(folder):
                with new_file(folder / file) as h5:
                    h5.attrs[_MARK] = self._mark

    @cached_property
    def _mark(self) -> str:
        return json.dumps(matcher_facts(self.matcher))

    def _read(self, folder: Path) -> list[str]:
        """Take over what a folder holds; name its files that are missing, damaged, or of another matcher."""
        names = {view.name: index for index, view in enumerate(self.views)}
        try:
            with h5py.File(folder / FEATURES, "r") as h5:
                _require_mark(h5, self._mark)
                num_kept = sum(name in h5 for name in names)
            images = sorted(names[name] for name in names_in(folder / FEATURES, self.views))
            if len(images) < num_kept:
                raise LookupError("a photograph has changed, and matches with it")
            found = read_features(folder / FEATURES, [self.views[index] for index in images])
            with_descriptors = [features.descriptors.shape[1] > 0 or not len(features.xy) for features in found]
            if not all(with_descriptors):
                raise LookupError("descriptors")
        except (*DAMAGED, InputError):
            return [FEATURES, MATCHES]
        features = dict(zip(images, found, strict=True))
        try:
            with h5py.File(folder / MATCHES, "r") as h5:
                _require_mark(h5, self._mark)
                every = {edge: self._kept(h5, edge, features) for edge in itertools.combinations(images, 2)}
        except (*DAMAGED, InputError):
            self._features |= features
            return [MATCHES]
        self._features |= features
        self._matches |= {edge: kept for edge, kept in every.items() if kept is not None}
        return []

    def _kept(self, h5: h5py.File, edge: Edge, features: Mapping[int, Features]) -> RowMatches | None:
        """Matches of a pair in a file; None where it has none, or numbers keypoints that are not there."""
        names = [self.views[index].name for index in edge]
        kept = read_matches(h5, *names) if entry(h5, pair_name(*names)) is not None else None
        counts = [len(features[index].xy) for index in edge]
        return kept if kept is not None and (kept[0] < counts).all() else None

    def features(self, images: Collection[int]) -> dict[int, Features]:
        """Features of some photographs, in raw pixels."""
        missing = sorted(set(images) - self._features.keys())
        found = self._map(lambda index: self.matcher.extract(self.views[index]), missing)
        if self._folder is None:
            self._features.update(zip(missing, found, strict=True))
        elif missing:
            with growing_features(self._folder / FEATURES) as file:
                for index, features in zip(missing, found, strict=True):
                    file.add((self.views[index], features))
            # As the file remembers them: a resumed run equals an unbroken one.
            kept = read_features(self._folder / FEATURES, [self.views[index] for index in missing])
            self._features.update(zip(missing, kept, strict=True))
        return {index: self._features[index] for index in images}

    def match(self, edges: Collection[Edge]) -> dict[Edge, RowMatches]:
        """Matches of some pairs (i, j), as rows of the features of both."""
        features = self.features({image for edge in edges for image in edge})
        missing = [edge for edge in dict.fromkeys(edges) if edge not in self._matches]

        def match(edge: Edge) -> RowMatches:
            i, j = edge
            return self.matcher.match(features[i], features[j], self.views[i], self.views[j])

        def keep(h5: h5py.File, edge: Edge) -> None:
            key = pair_name(*(self.views[index].name for index in edge))
            if key in h5:
                del h5[key]
            rows, scores = self._matches[edge]
            write_matches(h5.create_group(key), rows, len(features[edge[0]].xy), scores)

        path = None if self._folder is None else self._folder / MATCHES
        with contextlib.nullcontext() if path is None else GrowingFile(path, keep) as file:
            for edge, matches in zip(missing, self._map(match, missing), strict=True):
                self._matches[edge] = matches
                if file is not None:
                    file.add(edge)
        return {edge: self._matches[edge] for edge in edges}

    def known(self) -> list[Edge]:
        """The pairs (i, j) that are matched already."""
        return sorted(self._matches)

    def _map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        if items:
            self.matcher.check()  # once, not in every thread
        return map_ordered(function, items, self._num_workers)


def _require_mark(h5: h5py.File, mark: str) -> None:
    if h5.attrs.get(_MARK) != mark:
        raise LookupError("a file of another matcher")
