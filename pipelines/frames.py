"""Sequences with known poses, and which of their frames are judged."""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class FrameSequence:
    """Frames of one sequence in the order of their names.

    Attributes:
        name: of the sequence.
        group: category, within which the pairs of all sequences are put together.
        frames: files, relative to the root of the data set.
        cam_from_world: true poses (n, 3, 4).
    """

    name: str
    group: str
    frames: tuple[str, ...]
    cam_from_world: Float64[np.ndarray, "n 3 4"]


Choice = Callable[[FrameSequence], FrameSequence]
"""Gives the chosen frames of a sequence; an `InputError` says why it has none."""


@dataclass(frozen=True, kw_only=True)
class SequenceSet:
    """Sequences of a data set with the chosen frames.

    Attributes:
        root: folder that the frames are relative to.
        sequences: those that can be judged.
        missing: what cannot, and why.
        expected: number of sequences or other parts that the whole has, as far as it is known.
    """

    root: Path
    sequences: Sequence[FrameSequence]
    missing: Mapping[str, str] = field(default_factory=dict)
    expected: int | None = None


def frame_choice(num_frames: int, seed: int, listed: Path | None = None) -> Choice:
    """Say which frames of a sequence are judged.

    Args:
        num_frames: of each sequence.
        seed: of the choice.
        listed: frames.json of another run, {sequence: [frame, ...]}, to take instead; folders in it do not count.

    Raises:
        InputError: the file is no such list.
    """
    if listed is None:
        return lambda sequence: choose_frames(sequence, num_frames, seed)
    try:
        frames = {
            name: {PurePosixPath(frame).name for frame in of} for name, of in json.loads(listed.read_text()).items()
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{listed} is no list of frames; give the frames.json of a run.", path=listed) from error
    return lambda sequence: _listed_frames(sequence, frames.get(sequence.name, set()))


def choose_frames(sequence: FrameSequence, num_frames: int, seed: int) -> FrameSequence:
    """Draw frames without replacement; each sequence has its own generator, so that none depends on the others.

    Raises:
        InputError: the sequence has fewer frames.
    """
    if len(sequence.frames) < num_frames:
        raise InputError(f"{sequence.name} has {len(sequence.frames)} frames; {num_frames} are needed.")
    rng = np.random.default_rng([seed, zlib.crc32(sequence.name.encode())])
    return _only(sequence, np.sort(rng.choice(len(sequence.frames), num_frames, replace=False)))


def _listed_frames(sequence: FrameSequence, names: set[str]) -> FrameSequence:
    """
    Raises:
        InputError: the sequence lacks a frame of the list, or the list lacks the sequence.
    """
    if len(names) < 2:
        raise InputError(f"the list of frames has no two of {sequence.name}.")
    rows = np.flatnonzero([PurePosixPath(frame).name in names for frame in sequence.frames])
    if len(rows) < len(names):
        raise InputError(f"{sequence.name} lacks {len(names) - len(rows)} of the {len(names)} frames of the list.")
    return _only(sequence, rows)


def _only(sequence: FrameSequence, rows: Int64[np.ndarray, " k"]) -> FrameSequence:
    return replace(
        sequence, frames=tuple(sequence.frames[row] for row in rows), cam_from_world=sequence.cam_from_world[rows]
    )


def with_files(
    root: Path, sequences: Sequence[FrameSequence], missing: Mapping[str, str], expected: int | None
) -> SequenceSet:
    """Keep the sequences whose chosen frames are all there; the others are listed."""
    absent = {
        sequence.name: f"there is no {root / frame}"
        for sequence in sequences
        for frame in reversed(sequence.frames)
        if not (root / frame).is_file()
    }
    return SequenceSet(
        root=root,
        sequences=[sequence for sequence in sequences if sequence.name not in absent],
        missing={**missing, **absent},
        expected=expected,
    )
