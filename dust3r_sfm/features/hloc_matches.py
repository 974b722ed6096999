"""Keypoint matches of other programs, from hloc's HDF5 files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.features.features import Features
from dust3r_sfm.types import Matches


def read_hloc_matches(path: Path, names: Sequence[str], features: Sequence[Features]) -> list[Matches]:
    """Read the matches of all pairs of images that a file holds, in either order of their names.

    Args:
        path: hloc's matches file; a group per pair with `matches0` and, optionally, `matching_scores0`.
        names: image names; pairs of other images are left out.
        features: keypoints of every image, of the file that was matched.

    Raises:
        InputError: the file cannot be read, holds no pair of these images, or numbers keypoints that are not there.
    """
    found = []
    with _reading(path) as file:
        for i, first in enumerate(names):
            for j in range(i + 1, len(names)):
                group, turned = _group(file, first, names[j])
                if group is None:
                    continue
                rows, scores = _rows(group)
                if turned:
                    rows = rows[:, ::-1]
                if len(rows) and np.any(rows.max(axis=0) >= (len(features[i].xy), len(features[j].xy))):
                    raise InputError(
                        f"{path} matches keypoints of {first} and {names[j]} that the feature file does not have; give "
                        "the features that were matched."
                    )
                xy1, xy2 = features[i].xy[rows[:, 0]], features[j].xy[rows[:, 1]]
                found.append(Matches(image1=i, image2=j, xy1=xy1, xy2=xy2, confidence=scores))
    if not found:
        raise InputError(f"{path} has no matches of these photographs; match them, with the names they have here.")
    return found


def _group(file: Any, name1: str, name2: str) -> tuple[Any, bool]:
    """The group of a pair, and whether it is that of the turned pair; hloc has written both separators."""
    for separator in ("/", "_"):
        for turned, (first, second) in enumerate(((name1, name2), (name2, name1))):
            key = first.replace("/", "-") + separator + second.replace("/", "-")
            if key in file and "matches0" in file[key]:
                return file[key], bool(turned)
    return None, False


def _rows(group: Any) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints at both ends of the matches, and their scores."""
    partner = group["matches0"][()].astype(np.int64)
    first = np.flatnonzero(partner >= 0)
    scores = group["matching_scores0"][()].astype(np.float64) if "matching_scores0" in group else np.ones(len(partner))
    return np.column_stack([first, partner[first]]), scores[first]


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path} is no HDF5 file of matches; match the features again.") from error
