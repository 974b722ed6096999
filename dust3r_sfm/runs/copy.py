"""The model of a finished run in another folder, without computing it again."""

import json
import shutil
from pathlib import Path
from typing import Any

from dust3r_sfm.options import ReconstructOptions
from dust3r_sfm.runs.record import Facts, read_record
from dust3r_sfm.runs.stages import export_inputs, forget_models_from
from dust3r_sfm.runs.world import GEOREGISTRATION
from dust3r_sfm.system.files import atomic_path

_FILES = ("database.db", "dense", "dense_pointmaps", GEOREGISTRATION)
"""What the export stage writes beside the models."""

_OF_PREDICT = ("matcher", "matcher_weights")
"""Options of the predictor that the export stage reads as well."""


def copy_models(run: Path, out: Path, options: ReconstructOptions) -> Facts | None:
    """Copy models and workspaces of a run whose export stage was done with these options.

    Args:
        run: its output folder; another one than `out`.
        out: receives sparse/, database.db, dense/ and dense_pointmaps/.
        options: of the export.

    Returns:
        What the stage found out; None when it was not done so, and nothing is copied.

    Raises:
        OutputError: the disk is full or `out` cannot be written.
    """
    record = read_record(run)
    models = sorted(
        (path for path in (run / "sparse").glob("*") if path.name.isdecimal()), key=lambda path: int(path.name)
    )
    stage = record.stages.get("export")
    is_there = bool(models) and all((run / name).exists() for name in ("database.db", "dense"))
    if stage is None or not (stage.done and is_there) or not _is_same(stage.inputs, record.options or {}, options):
        return None
    for model in models:
        _copy(model, out / "sparse" / model.name)
    forget_models_from(len(models), out / "sparse")
    for name in _FILES:
        if (run / name).exists():
            _copy(run / name, out / name)
    return record


def _is_same(inputs: dict[str, Any], recorded: dict[str, Any], options: ReconstructOptions) -> bool:
    """Whether the stage would do the same again; masks are those of the run unless others are named."""
    predict, run = recorded.get("predict") or {}, recorded.get("run") or {}
    wanted = {name: getattr(options.predict, name) for name in _OF_PREDICT}
    return (
        options.images.masks is None
        and inputs == _as_json(export_inputs(options))
        and {name: predict.get(name) for name in _OF_PREDICT} == _as_json(wanted)
        and run.get("seed") == options.run.seed
    )


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    """As run.json holds it."""
    return dict(json.loads(json.dumps(value, default=str)))


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        if source.is_dir():
            shutil.copytree(source, temporary)
        else:
            shutil.copyfile(source, temporary)
