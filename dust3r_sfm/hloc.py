"""What all files of hloc (github.com/cvg/Hierarchical-Localization) agree on.

Features: a group per image name with `keypoints` (k, 2), `descriptors` (d, k), `scores` and `image_size`. Matches: a
group per pair with `matches0` (row of the second image's keypoint, -1: none) and `matching_scores0`. pairs.txt: two
names a line.
"""

from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float64, Int64, Integer

from dust3r_sfm.errors import InputError
from dust3r_sfm.system.hdf5 import entry, read_numbers, require_group

_ORIGIN_PX = 0.5
"""COLMAP's coordinate of the centre of the first pixel, which hloc counts as 0."""


def write_keypoints(group: h5py.Group, xy: Float64[np.ndarray, "k 2"]) -> None:
    """Write positions (raw pixels, COLMAP origin) as the keypoints of an image."""
    group["keypoints"] = (xy - _ORIGIN_PX).astype(np.float32)


def read_keypoints(h5: h5py.File, name: str, path: Path) -> Float64[np.ndarray, "k 2"]:
    """Read the keypoints of an image as raw pixels, COLMAP origin; further columns (scale, angle) are passed over.

    Raises:
        InputError: the file holds none of this image.
        ValueError: what it holds is no list of positions.
    """
    entry_name = f"{name}/keypoints"
    if entry(h5, entry_name) is None:
        raise InputError(f"{path} has no keypoints of {name}; extract the features of all images.", path=path)
    stored = read_numbers(h5, entry_name, (None, None))
    if stored.shape[1] < 2:
        raise InputError(f"{path} has keypoints of {name} without x and y; extract the features again.", path=path)
    keypoints: Float64[np.ndarray, "k 2"] = stored[:, :2].astype(np.float64) + _ORIGIN_PX
    return keypoints


def pair_name(name1: str, name2: str, separator: str = "/") -> str:
    """hloc's name of a pair of images (its `names_to_pair`; older versions part the two by "_")."""
    return separator.join(name.replace("/", "-") for name in (name1, name2))


def write_matches(
    group: h5py.Group,
    rows: Integer[np.ndarray, "m 2"],
    num_keypoints: int,
    scores: Float64[np.ndarray, " m"] | None = None,
) -> None:
    """Write matches, as rows of the keypoints of both images, of which the first has `num_keypoints`; scores else 1."""
    matches0, matching_scores0 = np.full(num_keypoints, -1, np.int32), np.zeros(num_keypoints, np.float16)
    matches0[rows[:, 0]] = rows[:, 1]
    matching_scores0[rows[:, 0]] = 1 if scores is None else scores
    group["matches0"], group["matching_scores0"] = matches0, matching_scores0


def read_matches(
    h5: h5py.File, name1: str, name2: str
) -> tuple[Int64[np.ndarray, "m 2"], Float64[np.ndarray, " m"]] | None:
    """Read the matches of a pair, under either name of it and in either order; None where there are none of it.

    Returns:
        Rows of the keypoints of both images, and scores: 1 where the file has none.

    Raises:
        ValueError: what the file holds of it is no list of matches.
    """
    for first, second, turned in ((name1, name2, False), (name2, name1, True)):
        for separator in ("/", "_"):
            key = pair_name(first, second, separator)
            if entry(h5, f"{key}/matches0") is not None:
                return _matches_of(require_group(h5, key), turned)
    return None


def _matches_of(group: h5py.Group, turned: bool) -> tuple[Int64[np.ndarray, "m 2"], Float64[np.ndarray, " m"]]:
    partner = read_numbers(group, "matches0", (None,), kinds="iu").astype(np.int64)
    first = np.flatnonzero(partner >= 0)
    rows = np.column_stack([first, partner[first]])
    if entry(group, "matching_scores0") is None:
        scores = np.ones(len(first))
    else:
        scores = read_numbers(group, "matching_scores0", partner.shape)[first].astype(np.float64)
    return (rows[:, ::-1] if turned else rows), scores


def require_rows(
    rows: Int64[np.ndarray, "m 2"], num_keypoints: tuple[int, int], names: tuple[str, str], path: Path
) -> None:
    """
    Raises:
        InputError: matches number keypoints that the images do not have.
    """
    if len(rows) and (rows.max(axis=0) >= num_keypoints).any():
        raise InputError(
            f"{path} matches keypoints of {names[0]} and {names[1]} that the feature file does not have; give the "
            "features that were matched.",
            path=path,
        )


def split_pair(line: str) -> list[str]:
    """The names in a line of pairs.txt: parted by a blank, or by a tab where names hold blanks. A pair has two."""
    line = line.rstrip("\r\n")
    return line.split("\t") if "\t" in line else line.split()
