"""CO3Dv2's annotations: from the published files to those of RelPose++, which the tables are made of, and to poses."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from PIL import Image

from dust3r_sfm.errors import InputError
from dust3r_sfm.system.files import atomic_path
from dust3r_sfm.system.parallel import map_ordered, num_cores

_SET_LIST, _SUBSET = "set_lists_fewview_dev.json", "test"
"""Which frames of the data set are tested (RelPose++)."""
_MIN_QUALITY = 0.5
"""Least viewpoint_quality_score of a sequence (RelPose++)."""
_MASK_OF_255 = 0.4 * 255
"""A frame counts where a pixel of its mask is above it (RelPose++)."""
_KEPT = ("R", "T", "focal_length", "principal_point")

Annotations = dict[str, list[dict[str, Any]]]
"""By sequence, for each frame: filepath, R, T, focal_length, principal_point; cameras as PyTorch3D has them."""


def read_annotations(path: Path) -> Annotations:
    """Read CATEGORY_test.jgz in RelPose++'s layout.

    Raises:
        InputError: the file is damaged.
    """
    content = read_jgz(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} does not hold sequences by name; take RelPose++'s annotations, or leave them out.")
    return content


def write_annotations(path: Path, annotations: Annotations) -> None:
    """Write them in the same layout."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(json.dumps(annotations).encode(), mtime=0))


def make_annotations(data: Path, category: str) -> Annotations:
    """Make them of the published files of a category; masks are read to leave out frames that show no object.

    Raises:
        InputError: a file of the category is missing or damaged.
    """
    folder = data / category
    qualities = {
        entry["sequence_name"]: entry.get("viewpoint_quality_score") or 0.0
        for entry in _entries(folder / "sequence_annotations.jgz")
    }
    frames = {
        (entry["sequence_name"], entry["frame_number"]): entry for entry in _entries(folder / "frame_annotations.jgz")
    }
    tested = []
    for name, number in _tested(folder / "set_lists" / _SET_LIST):
        if (name, number) not in frames:
            raise InputError(
                f"{folder / 'frame_annotations.jgz'} lacks frame {number} of {name}, which {_SET_LIST} lists; take "
                "both from the same release."
            )
        if qualities.get(name, 0.0) > _MIN_QUALITY:
            tested.append(frames[name, number])
    shown = map_ordered(lambda entry: _shows_object(data, entry), tested, num_cores())
    annotations: Annotations = {}
    for entry, is_shown in zip(tested, shown, strict=True):
        if is_shown:
            kept = {key: entry["viewpoint"][key] for key in _KEPT}
            annotations.setdefault(entry["sequence_name"], []).append({"filepath": entry["image"]["path"], **kept})
    return annotations


def cam_from_world(frame: dict[str, Any]) -> Float64[np.ndarray, "3 4"]:
    """The pose with x right and y down. PyTorch3D has x left and y up, and multiplies rows: X_cam = X_world R + T."""
    flip = np.array([-1.0, -1.0, 1.0])
    rotation = (np.asarray(frame["R"], np.float64) * flip).T
    return np.column_stack([rotation, np.asarray(frame["T"], np.float64) * flip])


def read_jgz(path: Path) -> Any:
    """Read JSON from a gzip file.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        return json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path} is missing or damaged; unpack the category again.", path=path) from error


def _entries(path: Path) -> list[dict[str, Any]]:
    content = read_jgz(path)
    if not isinstance(content, list) or not all(
        isinstance(entry, dict) and "sequence_name" in entry for entry in content
    ):
        raise InputError(f"{path} is no list of CO3Dv2's annotations; take version 2 of the data set.", path=path)
    return content


def _tested(path: Path) -> list[tuple[str, int]]:
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))[_SUBSET]
        return [(str(name), int(number)) for name, number, *_ in listed]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is missing or no list of frames; unpack the category again.", path=path) from error


def _shows_object(data: Path, entry: dict[str, Any]) -> bool:
    """Whether the mask of a frame holds anything; a frame whose mask is not there is kept."""
    path = data / entry["mask"]["path"] if entry.get("mask") else None
    if path is None or not path.is_file():
        return True
    try:
        with Image.open(path) as picture:
            return bool((np.asarray(picture.convert("L")) > _MASK_OF_255).any())
    except OSError as error:
        raise InputError(f"{path} is no mask that can be read; unpack the category again.", path=path) from error
