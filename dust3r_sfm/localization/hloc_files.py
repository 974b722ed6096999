"""Files of hloc (github.com/cvg/Hierarchical-Localization): pairs, global features, keypoints and matches.

hloc puts the centre of the first pixel at 0; here everything is moved to COLMAP's 0.5.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float32, Float64

from dust3r_sfm.errors import InputError
from dust3r_sfm.localization.correspond import Pair
from dust3r_sfm.localization.reference import Reference
from dust3r_sfm.localization.retrieve import DescriptorRetrieval
from dust3r_sfm.types import Matches, View


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
        parts = line.rstrip("\n").split("\t") if "\t" in line else line.split()
        if len(parts) != 2:
            raise InputError(f"{path}, line {number}: '{line.strip()}' is not the names of a query and of an image.")
        query, image = parts
        if image not in index_of:
            raise InputError(
                f"{path}, line {number}: {image} is not an image of the map (which has {names[0]}); "
                "retrieve from the images of this map."
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
        with _reading(path) as h5:
            missing = next((name for name in names if f"{name}/global_descriptor" not in h5), None)
            if missing is not None:
                raise InputError(f"{path} has no global descriptor of {missing}; extract the features of all images.")
            return np.stack([h5[name]["global_descriptor"][()].astype(np.float32) for name in names])

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
        with _reading(self._features) as features, _reading(self._matches) as matches:
            return [self._match(features, matches, queries[query].name, query, image) for query, image in pairs]

    def _match(self, features: h5py.File, matches: h5py.File, name: str, query: int, image: int) -> Matches:
        other = self._reference.names[image]
        first, second = _keypoints(features, name, self._features), _keypoints(features, other, self._features)
        index, scores = find_matches(matches, name, other)
        if len(index) and (index.max(axis=0) >= (len(first), len(second))).any():
            raise InputError(f"{self._matches} matches keypoints of {name} – {other} that {self._features} lacks.")
        return Matches(image1=query, image2=image, xy1=first[index[:, 0]], xy2=second[index[:, 1]], confidence=scores)


def find_matches(h5: h5py.File, name1: str, name2: str) -> tuple[np.ndarray, Float64[np.ndarray, " m"]]:
    """Indices of matched keypoints (m, 2) of an ordered pair, and their scores (1 where there are none)."""
    for first, second, swapped in ((name1, name2, False), (name2, name1, True)):
        one, two = first.replace("/", "-"), second.replace("/", "-")
        for key in (f"{one}/{two}", f"{one}_{two}"):
            if f"{key}/matches0" not in h5:
                continue
            matched = h5[key]["matches0"][()].astype(np.int64)
            rows = np.flatnonzero(matched >= 0)
            index = np.stack([rows, matched[rows]], axis=1)
            scores = h5[key]["matching_scores0"][()][rows] if "matching_scores0" in h5[key] else np.ones(len(rows))
            return (index[:, ::-1] if swapped else index), scores.astype(np.float64)
    return np.zeros((0, 2), np.int64), np.zeros(0)


def _keypoints(h5: h5py.File, name: str, path: Path) -> Float64[np.ndarray, "n 2"]:
    if f"{name}/keypoints" not in h5:
        raise InputError(f"{path} has no keypoints of {name}; extract the features of all images.")
    keypoints: Float64[np.ndarray, "n 2"] = h5[name]["keypoints"][()].astype(np.float64).reshape(-1, 2) + 0.5
    return keypoints


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a text file of pairs; check the path.") from error


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[h5py.File]:
    if not path.is_file():
        raise InputError(f"There is no file {path}; check the path.")
    try:
        h5 = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path} is not an HDF5 file of hloc, or damaged; extract it again.") from error
    with h5:
        yield h5
