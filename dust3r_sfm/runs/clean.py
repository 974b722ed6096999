"""Free the disk of what a finished run needs no more."""

import shutil
from pathlib import Path

from dust3r_sfm.errors import InputError
from dust3r_sfm.runs.folder import STRAIGHTENED
from dust3r_sfm.runs.record import read_record

_BETWEEN_STAGES = ("predictions*.h5*", "matching*")
"""What stages hand on, and what is large: keypoints are small, and localization uses them."""


def clean(out: Path, *, dry_run: bool = False) -> dict[Path, int]:
    """Remove pointmaps and learned matches of a finished run; its models and workspaces stay as they are.

    The same command finds the run finished; other options would compute what is gone again.

    Args:
        out: output folder of the run.
        dry_run: only say what would go.

    Returns:
        Bytes of each file or folder that is removed.

    Raises:
        InputError: the folder holds no finished run.
    """
    if not (out / "run.json").is_file():
        raise InputError(f"{out} is no output folder of a run; name one.", path=out)
    record = read_record(out)
    if record.summary is None or not list(record.stages.values())[-1].done:
        raise InputError(
            f"The run in {out} is not finished and goes on from these files; finish it with its command first.",
            path=out,
        )
    runs = [out, out / STRAIGHTENED / "run"]
    found = [path for run in runs for pattern in _BETWEEN_STAGES for path in sorted(run.glob(pattern))]
    sizes = {path: _bytes(path) for path in found}
    for path in [] if dry_run else found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return sizes


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())
