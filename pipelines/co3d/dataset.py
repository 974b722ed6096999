"""CO3Dv2 as it is unpacked: the sequences of the tables, each with its chosen frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.system.progress import Progress
from pipelines.co3d.annotations import (
    Annotations,
    cam_from_world,
    make_annotations,
    read_annotations,
    write_annotations,
)
from pipelines.co3d.published import CATEGORIES
from pipelines.frames import Choice, FrameSequence, SequenceSet, with_files

_MIN_FRAMES = 50
"""Shorter sequences are not tested (PoseDiffusion)."""
_MAX_TRANSLATION = 1e5
"""A camera with a larger sum of its translation is a mistake of the data set (PoseDiffusion)."""


def read_sequences(
    data: Path,
    categories: Sequence[str],
    annotations: Path,
    choose: Choice,
    progress: Progress,
) -> SequenceSet:
    """Read the sequences of some categories.

    Args:
        data: folder of the categories.
        categories: of which; those that are not there are listed as missing.
        annotations: folder of CATEGORY_test.jgz; those that are not there are made, once.
        choose: gives the frames of a sequence.
        progress: shows the categories.

    Raises:
        InputError: no category is there, or a name is none.
    """
    unknown = sorted(set(categories) - set(CATEGORIES))
    if unknown:
        raise InputError(f"The tables have no category {unknown[0]}; theirs are {', '.join(CATEGORIES)}.")
    missing: dict[str, str] = {}
    sequences: list[FrameSequence] = []
    with progress.stage("annotations") as step:
        for done, category in enumerate(categories):
            step(done, len(categories))
            try:
                found = _of_category(data, category, annotations)
            except InputError as error:
                missing[category] = str(error)
                continue
            for sequence in found:
                try:
                    sequences.append(choose(sequence))
                except InputError as error:
                    missing[sequence.name] = str(error)
        step(len(categories), len(categories))
    read = with_files(data, sequences, missing, expected=len(sequences) + len(missing))
    if not read.sequences:
        name, reason = next(iter(read.missing.items()), (categories[0], "it has no sequence that is tested"))
        raise InputError(
            f"{data} holds no sequence of CO3Dv2 that can be judged ({name}: {reason.rstrip('.')}); give the folder "
            "that holds apple/, backpack/ and the other categories."
        )
    return read


def _of_category(data: Path, category: str, annotations: Path) -> list[FrameSequence]:
    if not (data / category).is_dir():
        raise InputError(f"there is no folder {data / category}.")
    path = annotations / f"{category}_test.jgz"
    try:
        if path.is_file():
            return _sequences(category, read_annotations(path))
        content = make_annotations(data, category)
        write_annotations(path, content)
        return _sequences(category, content)
    except (KeyError, TypeError, ValueError) as error:
        source = path if path.is_file() else data / category / "frame_annotations.jgz"
        raise InputError(f"{source} has a frame without picture or camera; remove it, and take it anew.") from error


def _sequences(category: str, content: Annotations) -> list[FrameSequence]:
    sequences = []
    for name, frames in sorted(content.items()):
        ordered = sorted(frames, key=lambda frame: str(frame["filepath"]))
        far = any(np.sum(frame["T"]) > _MAX_TRANSLATION for frame in ordered)
        if len(ordered) >= _MIN_FRAMES and not far:
            sequences.append(
                FrameSequence(
                    name=f"{category}/{name}",
                    group=category,
                    frames=tuple(frame["filepath"] for frame in ordered),
                    cam_from_world=np.stack([cam_from_world(frame) for frame in ordered]),
                )
            )
    return sequences
