"""The output folder of a run: which stages are done, with which options, and what may be reused.

A stage is done when run.json says so. Inputs that change undo their stage and all later ones, so a finished stage is
reused exactly when nothing that could change its result has changed.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dust3r_sfm.errors import OutputError
from dust3r_sfm.files import write_json

ARTEFACTS: dict[str, tuple[str, ...]] = {
    "images": ("images",),
    "pairs": ("pairs.txt",),
    "predict": ("predictions.h5", "predictions.*.h5", "predictions*.h5.parts"),
    "align": ("scene.h5",),
    "export": ("sparse", "dense", "database.db", "report.html"),
}
"""What each stage writes, in the order of the stages; the first of each must be there for the stage to be done."""

STAGES = tuple(ARTEFACTS)


class RunFolder:
    """OUT/ and its run.json.

    Args:
        path: the output folder; made if it is not there.
        inputs: for each stage of `STAGES` (or a leading part of them) the JSON values its result depends on.
        overwrite: let go of stages that other inputs made, instead of refusing.

    Raises:
        OutputError: the folder holds another run, or things that no run made, and `overwrite` is off.
    """

    def __init__(self, path: Path, inputs: Mapping[str, Mapping[str, Any]], *, overwrite: bool = False) -> None:
        self.path = path
        self.record = read_record(path)
        if not self.record:
            occupied = path.is_file() or (path.is_dir() and any(path.iterdir()))
            if occupied and not overwrite:
                raise OutputError(
                    f"{path} is not empty and holds no run of this program; choose another folder or add --overwrite."
                )
        else:
            for leftover in path.rglob(".*.tmp"):  # of a killed run; only files.atomic_path makes such names
                _remove(leftover)
        stages: dict[str, Any] = self.record.setdefault("stages", {})
        wanted = json.loads(json.dumps(inputs, default=str))
        for stage in wanted:
            known = stages.get(stage)
            if known is not None and known["inputs"] != wanted[stage]:
                if not overwrite:
                    raise OutputError(
                        f"{path} holds another run ({_difference(known['inputs'], wanted[stage])}); "
                        "choose another folder, or add --overwrite to replace what no longer fits."
                    )
                self._forget(stage)
        for stage in wanted:
            stages.setdefault(stage, {"inputs": wanted[stage], "done": False})
        self.save()

    def _forget(self, first: str) -> None:
        for stage in STAGES[STAGES.index(first) :]:
            self.record["stages"].pop(stage, None)
            for pattern in ARTEFACTS[stage]:
                for path in self.path.glob(pattern):
                    _remove(path)

    def is_done(self, stage: str) -> bool:
        """Whether the stage finished with these inputs and its files are there."""
        if not self.record["stages"].get(stage, {}).get("done"):
            return False
        required = ARTEFACTS[stage][:1]
        return all((self.path / name).exists() for name in required)

    def finish(self, stage: str, seconds: float, **facts: Any) -> None:
        """Record a finished stage; stages after it are no longer valid and are forgotten."""
        later = STAGES[STAGES.index(stage) + 1 :]
        for name in later:
            if self.record["stages"].get(name, {}).get("done"):
                self.record["stages"][name]["done"] = False
        self.record["stages"][stage].update(done=True, seconds=round(seconds, 2), **facts)
        self.save()

    def save(self) -> None:
        """Write run.json."""
        write_json(self.path / "run.json", self.record)


def read_record(path: Path) -> dict[str, Any]:
    """Read OUT/run.json; an empty record where there is none.

    Raises:
        OutputError: run.json is damaged.
    """
    file = path / "run.json"
    if not file.is_file():
        return {}
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or not isinstance(record.get("stages", {}), dict):
            raise ValueError
    except ValueError as error:
        raise OutputError(
            f"{file} is damaged; remove it together with the rest of the folder and run again."
        ) from error
    return record


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            if name == "photographs":
                return "of other photographs"
            return f"{name} was {before.get(name)}, is now {now.get(name)}"
    return "of other inputs"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
