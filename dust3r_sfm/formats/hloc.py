"""Keypoints and matches as hloc keeps them: features.h5, matches.h5 and pairs.txt, fitting the model in sparse/0."""

import contextlib
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from dust3r_sfm.errors import InputError
from dust3r_sfm.hloc import pair_name, write_keypoints, write_matches
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.system.files import write_text
from dust3r_sfm.system.hdf5_writer import new_file
from dust3r_sfm.tracks.keypoints import positions


def write_hloc(folder: Path, reconstruction: Reconstruction, database: Path) -> None:
    """Write features.h5, matches.h5 and pairs.txt.

    Rows of `keypoints` are the points2D of the model, so the model can serve as hloc's `reference_sfm`. There are no
    descriptors: the matches come from pointmaps. Matches are those of the database that agree with its two-view
    geometries.

    Args:
        folder: receives the three files.
        reconstruction: the model.
        database: its database.db.

    Raises:
        InputError: when a name holds a blank (pairs.txt cannot tell it from two names), when two pairs would share
            hloc's name of a pair, or when the database is missing.
        OutputError: when the disk is full or the folder cannot be written.
    """
    names = {image_id: image.name for image_id, image in reconstruction.images.items()}
    blank = next((name for name in sorted(names.values()) if any(map(str.isspace, name))), None)
    if blank is not None:
        raise InputError(f"'{blank}' holds a blank, which hloc's pairs.txt cannot hold; rename it and run again.")
    matches = {
        pair: rows for pair, rows in _verified_matches(database).items() if pair[0] in names and pair[1] in names
    }
    groups = {(id1, id2): pair_name(names[id1], names[id2]) for id1, id2 in matches}
    if len(set(groups.values())) < len(groups):
        raise InputError("Two pairs have one name in hloc, which writes '/' as '-'; rename the photographs' folders.")
    with new_file(folder / "features.h5") as h5:
        for image in reconstruction.images.values():
            keypoints = positions(image.points2D)
            group = h5.create_group(image.name)
            write_keypoints(group, keypoints)
            group["scores"] = np.ones(len(keypoints), np.float32)
            group["image_size"] = np.array([image.camera.width, image.camera.height])
    with new_file(folder / "matches.h5") as h5:
        for (id1, id2), rows in matches.items():
            write_matches(h5.create_group(groups[id1, id2]), rows, len(reconstruction.images[id1].points2D))
    write_text(folder / "pairs.txt", "".join(f"{names[id1]} {names[id2]}\n" for id1, id2 in matches))


def _verified_matches(database: Path) -> dict[tuple[int, int], Integer[np.ndarray, "m 2"]]:
    """Inlier matches of each pair of image ids, as rows of keypoints."""
    from dust3r_sfm.system._pycolmap import pycolmap

    if not database.is_file():
        raise InputError(f"{database} is missing; export the model with --colmap again.", path=database)
    with contextlib.closing(pycolmap.Database.open(str(database))) as opened:
        pair_ids, geometries = opened.read_two_view_geometries()
    pairs = (pycolmap.pair_id_to_image_pair(pair_id) for pair_id in pair_ids)
    return {
        (int(id1), int(id2)): geometry.inlier_matches
        for (id1, id2), geometry in sorted(zip(pairs, geometries, strict=True), key=lambda entry: entry[0])
        if len(geometry.inlier_matches)
    }
