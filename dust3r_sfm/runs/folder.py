"""The output folder of a run: which stages are done, with which options, and what may be reused.

Shards of a run share the folder and may be at work at the same time: each keeps a record of its own, run.2-of-4.json.
A stage is done when run.json says so. Inputs that change undo their stage and all later ones, so a finished stage is
reused exactly when nothing that could change its result has changed.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dust3r_sfm.errors import InputError, OutputError
from dust3r_sfm.system.files import write_json

ARTEFACTS: dict[str, tuple[str, ...]] = {
    "images": ("images", "images.*-of-*", "features.h5"),
    "pairs": ("pairs.txt",),
    "predict": ("predictions*.h5*", "run.*-of-*.json"),
    "align": ("scene.h5",),
    "export": ("sparse", "dense", "dense_pointmaps", "database.db", "fused.ply*", "mesh.ply", "report.html"),
}
"""What each stage writes, as patterns, in the order of the stages; the first of each must be there for the stage to be
done."""

STAGES = tuple(ARTEFACTS)


class RunFolder:
    """OUT/ and its run.json.

    Args:
        path: the output folder; made if it is not there.
        inputs: for each stage of `STAGES` (or a leading part of them) the JSON values its result depends on.
        overwrite: let go of stages that other inputs made, instead of refusing.
        suffix: of the shard at work, as .2-of-4; empty for a whole run, which takes over what shards have done.

    Raises:
        OutputError: the folder holds another run, or things that no run made, and `overwrite` is off.
    """

    def __init__(
        self, path: Path, inputs: Mapping[str, Mapping[str, Any]], *, overwrite: bool = False, suffix: str = ""
    ) -> None:
        self.path = path
        self._is_shard = bool(suffix)
        self._file_name = f"run{suffix}.json"
        self.record = read_record(path, self._file_name) or self._take_over()
        if not self.record:
            occupied = path.is_file() or (path.is_dir() and any(path.iterdir()))
            if occupied and not overwrite:
                raise OutputError(
                    f"{path} is not empty and holds no run of this program; choose another folder or add --overwrite."
                )
        elif not self._is_shard:
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

    def _take_over(self) -> dict[str, Any]:
        """What another shard of this folder, or the whole run, says about the stages that shards have in common."""
        for file in sorted(self.path.glob("run*.json")):
            stages = read_record(self.path, file.name).get("stages", {})
            common = {name: dict(stages[name]) for name in ("images", "pairs", "predict") if name in stages}
            if "predict" in common:
                common["predict"]["done"] = False
            return {"stages": common}
        return {}

    def _forget(self, first: str) -> None:
        for stage in STAGES[STAGES.index(first) :]:
            self.record["stages"].pop(stage, None)
            for pattern in ARTEFACTS[stage]:
                for path in self.path.glob(pattern):
                    _remove(path)

    def is_done(self, stage: str) -> bool:
        """Whether the stage finished with these inputs and its files are there."""
        # A shard may find that another one has just selected the pairs.
        done = self.record["stages"].get(stage, {}).get("done") or (self._is_shard and stage == "pairs")
        return bool(done) and any(self.path.glob(ARTEFACTS[stage][0]))

    def finish(self, stage: str, seconds: float, **facts: Any) -> None:
        """Record a finished stage; stages after it are no longer valid and are forgotten."""
        later = STAGES[STAGES.index(stage) + 1 :]
        for name in later:
            if self.record["stages"].get(name, {}).get("done"):
                self.record["stages"][name]["done"] = False
        self.record["stages"][stage].update(done=True, seconds=round(seconds, 2), **facts)
        self.save()

    def save(self) -> None:
        """Write run.json, or the shard's own record."""
        write_json(self.path / self._file_name, self.record)


def require_apart(photos: Path, out: Path) -> None:
    """The next run would take pictures in OUT for photographs if one folder held the other.

    Raises:
        InputError: naming both.
    """
    inner, outer = out.resolve(), photos.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise InputError(f"{out} and {photos} lie inside each other; choose an output folder outside the photographs.")


def read_record(path: Path, file_name: str = "run.json") -> dict[str, Any]:
    """Read OUT/run.json, or a shard's record; an empty one where there is none.

    Raises:
        OutputError: the file is damaged.
    """
    file = path / file_name
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
