"""Which 3-D Gaussian splatting trainers are on this machine, and what starts each on the workspace of a run."""

import importlib.util
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dust3r_sfm.errors import Dust3rSfmError, InputError


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """A trainer and its command for one workspace.

    Attributes:
        name: what it is called.
        command: program and arguments.
        is_here: whether this machine has it.
        note: where to get it, or from where the command is run.
    """

    name: str
    command: tuple[str, ...]
    is_here: bool
    note: str

    def __str__(self) -> str:
        """One line for the terminal: name, command, and what is missing."""
        missing = "" if self.is_here else f"   # {self.note}"
        return f"{self.name:<20}{shlex.join(self.command)}{missing}"


def trainers(out: Path) -> list[Trainer]:
    """The trainers, those of this machine first.

    Args:
        out: output folder of a run; its `dense` workspace is what they read.

    Raises:
        InputError: the run has no workspace.
    """
    dense = out / "dense"
    if not (dense / "sparse" / "0").is_dir():
        raise InputError(f"{out} has no workspace dense/; write one with dust3r-sfm reconstruct.", path=out)
    splats = str(out / "splats")
    brush = next((program for program in ("brush_app", "brush", "brush-cli") if shutil.which(program)), "brush_app")
    known = [
        Trainer(
            name="nerfstudio",
            command=(
                *("ns-train", "splatfacto", "--output-dir", splats, "--data", str(dense)),
                *("colmap", "--colmap-path", "sparse/0", "--downscale-factor", "1"),
            ),
            is_here=shutil.which("ns-train") is not None,
            note="pip install nerfstudio, needs CUDA",
        ),
        Trainer(
            name="Brush",
            command=(brush, str(dense)),
            is_here=shutil.which(brush) is not None,
            note="one file from github.com/ArthurBrussee/brush, any GPU",
        ),
        Trainer(
            name="gsplat",
            command=(
                *("python", "examples/simple_trainer.py", "default", "--data_factor", "1"),
                *("--data_dir", str(dense), "--result_dir", splats),
            ),
            is_here=importlib.util.find_spec("gsplat") is not None and Path("examples/simple_trainer.py").is_file(),
            note="pip install gsplat, needs CUDA; typed in a clone of github.com/nerfstudio-project/gsplat",
        ),
    ]
    return sorted(known, key=lambda trainer: not trainer.is_here)


def run_trainer(known: Sequence[Trainer]) -> None:
    """Start the first that is here, and wait for it.

    Raises:
        InputError: none is.
        Dust3rSfmError: it fails.
    """
    here = next((trainer for trainer in known if trainer.is_here), None)
    if here is None:
        missing = "; ".join(f"{trainer.name} ({trainer.note})" for trainer in known)
        raise InputError(f"No trainer is installed; get one of {missing}.")
    code = subprocess.run(here.command, check=False).returncode
    if code != 0:
        raise Dust3rSfmError(f"{here.name} ended with code {code}; the command was {shlex.join(here.command)}.")
