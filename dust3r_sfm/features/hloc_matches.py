"""Keypoint matches of other programs, from hloc's HDF5 files."""

from collections.abc import Sequence
from pathlib import Path

from dust3r_sfm.errors import InputError
from dust3r_sfm.features.features import Features
from dust3r_sfm.hloc import read_matches, require_rows
from dust3r_sfm.system.hdf5 import open_or_say
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
    matches = []
    with open_or_say(path, "HDF5 file of matches", "match the features again") as h5:
        for i, first in enumerate(names):
            for j in range(i + 1, len(names)):
                stored = read_matches(h5, first, names[j])
                if stored is None:
                    continue
                rows, scores = stored
                require_rows(rows, (len(features[i].xy), len(features[j].xy)), (first, names[j]), path)
                xy1, xy2 = features[i].xy[rows[:, 0]], features[j].xy[rows[:, 1]]
                matches.append(Matches(image1=i, image2=j, xy1=xy1, xy2=xy2, confidence=scores))
    if not matches:
        raise InputError(
            f"{path} has no matches of these photographs; match them, with the names they have here.", path=path
        )
    return matches
