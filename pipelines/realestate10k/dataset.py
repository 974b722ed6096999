"""RealEstate10K: camera files as published, frames as its users take them from the videos."""

from pathlib import Path

import numpy as np

from dust3r_sfm.errors import InputError
from pipelines.frames import Choice, FrameSequence, SequenceSet, with_files

LIST = "re10k_test_1800.txt"
"""PoseDiffusion's list of 1832 sequences."""
_NUM_COLUMNS = 19
"""Of a line: timestamp, four intrinsics, two zeros, and the camera matrix (3 × 4, camera from world)."""
_FRAME_FOLDERS = ("", "test", "frames", "frames/test")
"""Where the folders of frames are looked for in the root, because each way of fetching them has its own."""


def read_sequences(data: Path, listed: Path | None, choose: Choice) -> SequenceSet:
    """Read the sequences of a list, or all of DATA/test without one.

    Args:
        data: folder that holds test/ID.txt, and the frames ID/TIMESTAMP.png in it or in one of its sub-folders.
        listed: text file of sequence names, one a line.
        choose: gives the frames of a sequence.

    Raises:
        InputError: no sequence is there, or the list cannot be read.
    """
    cameras = data / "test"
    if not cameras.is_dir():
        raise InputError(
            f"{data} has no folder test; give the folder that holds test/ID.txt of RealEstate10K's archive.", path=data
        )
    names = _names(listed) if listed else sorted(path.stem for path in cameras.glob("*.txt"))
    missing: dict[str, str] = {}
    sequences = []
    for name in names:
        path = cameras / f"{name}.txt"
        try:
            sequences.append(choose(_sequence(data, path)))
        except InputError as error:
            missing[name] = str(error)
    read = with_files(data, sequences, missing, expected=len(names))
    if not read.sequences:
        name, reason = next(iter(read.missing.items()), ("test", "it holds no ID.txt"))
        raise InputError(
            f"{data} holds no sequence that can be judged ({name}: {reason.rstrip('.')}); fetch the frames of "
            "the videos to ID/TIMESTAMP.png there."
        )
    return read


def _names(path: Path) -> list[str]:
    try:
        names = [line.split()[0].removesuffix(".txt") for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a list of sequences; check the path.", path=path) from error
    if not names:
        raise InputError(f"{path} lists no sequence; give the list as PoseDiffusion has it.", path=path)
    return names


def _sequence(data: Path, path: Path) -> FrameSequence:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[1:]  # the first is the video's address
        rows = [line.split() for line in lines if line.strip()]
        values = np.array([[float(value) for value in row] for row in rows]).reshape(len(rows), _NUM_COLUMNS)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(
            f"{path} is missing or has a line that is not of {_NUM_COLUMNS} numbers.", path=path
        ) from error
    order = np.argsort([row[0] for row in rows])
    folder = next((f"{place}/" if place else "" for place in _FRAME_FOLDERS if (data / place / path.stem).is_dir()), "")
    return FrameSequence(
        name=path.stem,
        group="test",
        frames=tuple(f"{folder}{path.stem}/{rows[index][0]}.png" for index in order),
        cam_from_world=values[order, 7:].reshape(-1, 3, 4),
    )
