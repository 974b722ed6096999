"""Retrieval and matches of queries from files of hloc: pairs, global features, keypoints and matches."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float32

from dust3r_sfm.errors import InputError
from dust3r_sfm.hloc import read_keypoints, read_matches, require_rows, split_pair
from dust3r_sfm.localization.correspond import Pair
from dust3r_sfm.localization.reference import Reference
from dust3r_sfm.localization.retrieve import DescriptorRetrieval
from dust3r_sfm.system.hdf5 import entry, open_or_say, read_numbers
from dust3r_sfm.system.text import read_text
from dust3r_sfm.types import Matches, View

_FEATURES, _AGAIN = "HDF5 file of hloc's features", "extract the features of all images again"


def read_retrieval(path: Path, names: Sequence[str]) -> dict[str, list[int]]:
    """Read hloc's pairs file: a query and an image of the map a line, parted by a blank (or a tab).

    Args:
        path: the file.
        names: of the map's images.

    Returns:
        Indices of the map's images by query name, in the order of the file, each once.

    Raises:
        InputError: the file cannot be read, a line does not hold two names, or the second is not in the map.
    """
    index_of = {name: index for index, name in enumerate(names)}
    listed: dict[str, list[int]] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        parts = split_pair(line)
        if len(parts) != 2:
            raise InputError(
                f"{path}, line {number}: '{line.strip()}' is not the names of a query and of an image.", path=path
            )
        query, image = parts
        if image not in index_of:
            raise InputError(
                f"{path}, line {number}: {image} is not an image of the map (which has {names[0]}); "
                "retrieve from the images of this map.",
                path=path,
            )
        known = listed.setdefault(query, [])
        if index_of[image] not in known:
            known.append(index_of[image])
    return listed


def global_retrieval(path: Path, reference: Reference) -> DescriptorRetrieval:
    """Retrieve by hloc's global features of the map's images and of the queries.

    Raises:
        InputError: the file cannot be read, or lacks an image of the map.
    """

    def read(names: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        with open_or_say(path, _FEATURES, _AGAIN) as h5:
            missing = next((name for name in names if entry(h5, f"{name}/global_descriptor") is None), None)
            if missing is not None:
                raise InputError(
                    f"{path} has no global descriptor of {missing}; extract the features of all images.", path=path
                )
            stored = [read_numbers(h5, f"{name}/global_descriptor", (None,)) for name in names]
            return np.stack(stored).astype(np.float32)

    return DescriptorRetrieval(read(reference.names), lambda views: read([view.name for view in views]))


class FileMatcher:
    """Matches from hloc's files, of sparse matchers and of `match_dense`.

    Args:
        reference: the map.
        features: feature file: a group per image with `keypoints` (n, 2), any float type.
        matches: match file: a group per pair with `matches0` (-1: none), and `matching_scores0` where there are scores;
            groups are found under the present name of a pair, the one of older versions, and in either order.
    """

    def __init__(self, reference: Reference, features: Path, matches: Path) -> None:
        self._reference = reference
        self._features = features
        self._matches = matches

    def match(self, queries: Sequence[View], pairs: Sequence[Pair]) -> list[Matches]:
        """See `Matcher`. A pair that the file lacks has no matches.

        Raises:
            InputError: a file cannot be read, lacks an image, or the two do not fit each other.
        """
        with (
            open_or_say(self._features, _FEATURES, _AGAIN) as features,
            open_or_say(self._matches, "HDF5 file of hloc's matches", "match the features again") as matches,
        ):
            return [self._match(features, matches, queries[query].name, query, image) for query, image in pairs]

    def _match(self, features: h5py.File, matches: h5py.File, name: str, query: int, image: int) -> Matches:
        other = self._reference.names[image]
        xy1, xy2 = (read_keypoints(features, each, self._features) for each in (name, other))
        stored = read_matches(matches, name, other)
        rows, scores = (np.zeros((0, 2), np.int64), np.zeros(0)) if stored is None else stored
        require_rows(rows, (len(xy1), len(xy2)), (name, other), self._matches)
        return Matches(image1=query, image2=image, xy1=xy1[rows[:, 0]], xy2=xy2[rows[:, 1]], confidence=scores)


def _lines(path: Path) -> list[str]:
    try:
        return read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a text file of pairs; check the path.", path=path) from error
