"""The output folder of a run: which stages are done, with which inputs, and what may be reused.

Shards of a run share the folder and may be at work at the same time: each keeps a record of its own, run.2-of-4.json.
A stage is done when run.json says so. Inputs that change undo their stage and all later ones, so a finished stage is
reused exactly when nothing that could change its result has changed.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dust3r_sfm.errors import InputError, OutputError
from dust3r_sfm.runs.difference import difference
from dust3r_sfm.runs.record import Facts, Photographs, RunRecord, StageRecord, read_record
from dust3r_sfm.system.files import remove_leftovers, write_json

STRAIGHTENED = "straightened"
"""Folder of a run in OUT, of the same photographs without the distortion of a strong lens."""

FRAMES = "frames"
"""Folder in OUT with the frames of videos, which are the run's photographs."""

_SHARED = ("images", "pairs", "predict")
"""Stages that shards have in common."""


class RunFolder:
    """OUT/ and its run.json.

    Args:
        path: the output folder; made if it is not there.
        inputs: for each stage (or a leading part of them) the JSON values its result depends on.
        artefacts: for each stage, in order, what it writes, as patterns; the first must be there for it to be done.
        defaults: the inputs at default options: what a record means that an earlier version made without an option.
        photographs: which photographs; to say which ones changed.
        overwrite: let go of stages that other inputs made, instead of refusing.
        suffix: of the shard at work, as .2-of-4; empty for a whole run, which takes over what shards have done.

    Raises:
        OutputError: the folder holds another run, or things that no run made, and `overwrite` is off.
    """

    def __init__(
        self,
        path: Path,
        inputs: Mapping[str, Mapping[str, Any]],
        artefacts: Mapping[str, tuple[str, ...]],
        *,
        defaults: Mapping[str, Mapping[str, Any]] | None = None,
        photographs: Photographs | None = None,
        overwrite: bool = False,
        suffix: str = "",
    ) -> None:
        self.path = path
        self._artefacts = artefacts
        self._order = tuple(artefacts)
        self._is_shard = bool(suffix)
        self._file_name = f"run{suffix}.json"
        is_new = not (path / self._file_name).is_file()
        taken_over = self._take_over() if is_new else None
        self.record = taken_over or read_record(path, self._file_name)
        if is_new and taken_over is None:
            others = (each.name for each in path.iterdir()) if path.is_dir() else ()
            if path.is_file():
                raise OutputError(f"{path} is a file; choose a folder.", path=path)
            occupied = any(name not in (STRAIGHTENED, FRAMES) for name in others)
            if occupied and not overwrite:
                raise OutputError(
                    f"{path} is not empty and holds no run of this program; choose another folder or add --overwrite.",
                    path=path,
                )
        elif not self._is_shard:
            remove_leftovers(path)
        wanted = json.loads(json.dumps(inputs, default=str))
        for stage, values in json.loads(json.dumps(defaults or {}, default=str)).items():
            if stage in self.record.stages:
                self.record.stages[stage].inputs = values | self.record.stages[stage].inputs
        for stage in wanted:
            known = self.record.stages.get(stage)
            if known is not None and known.inputs != wanted[stage]:
                if not overwrite:
                    why = difference(known.inputs, wanted[stage], self.record.photographs, photographs)
                    raise OutputError(
                        f"{path} holds another run ({why}); "
                        "choose another folder, or add --overwrite to replace what no longer fits.",
                        path=path,
                    )
                self._forget(stage)
        for stage in wanted:
            self.record.stages.setdefault(stage, StageRecord(inputs=wanted[stage]))
        self.save()

    def _take_over(self) -> RunRecord | None:
        """What another shard of this folder, or the whole run, says about the stages that shards have in common."""
        for file in sorted(self.path.glob("run*.json")):
            other = read_record(self.path, file.name)
            common = {name: replace(other.stages[name]) for name in _SHARED if name in other.stages}
            if "predict" in common:
                common["predict"].done = False
            return RunRecord(stages=common, photographs=other.photographs)
        return None

    def _forget(self, first: str) -> None:
        for stage in self._order[self._order.index(first) :]:
            self.record.stages.pop(stage, None)
            for pattern in self._artefacts[stage]:
                for path in self.path.glob(pattern):
                    _remove(path)

    def is_done(self, stage: str) -> bool:
        """Whether the stage finished with these inputs and its files are there."""
        known = self.record.stages.get(stage)
        # A shard may find that another one has just selected the pairs.
        done = (known is not None and known.done) or (self._is_shard and stage == "pairs")
        return done and any(self.path.glob(self._artefacts[stage][0]))

    def finish(self, stage: str, seconds: float, facts: Facts | None = None) -> None:
        """Record a finished stage and what it found out; stages after it are no longer valid."""
        for later in self._order[self._order.index(stage) + 1 :]:
            if later in self.record.stages:
                self.record.stages[later].done = False
        self.record.stages[stage].done, self.record.stages[stage].seconds = True, round(seconds, 2)
        self.record.note(facts or Facts())
        self.save()

    def save(self) -> None:
        """Write run.json, or the shard's own record."""
        write_json(self.path / self._file_name, self.record.as_json())


def require_apart(photos: Path, out: Path) -> None:
    """The next run would take pictures in OUT for photographs if one folder held the other.

    Raises:
        InputError: naming both.
    """
    inner, outer = out.resolve(), photos.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise InputError(
            f"{out} and {photos} lie inside each other; choose an output folder outside the photographs.", path=out
        )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
