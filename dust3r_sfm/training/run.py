"""`dust3r-sfm train OUT`: from a preset and data sets to weights."""

import contextlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dust3r_sfm.errors import InputError, OutputError
from dust3r_sfm.options import TrainOptions
from dust3r_sfm.system.files import write_json
from dust3r_sfm.system.lock import locked
from dust3r_sfm.system.progress import Progress, Silent
from dust3r_sfm.system.ranges import require_ranges
from dust3r_sfm.system.text import read_json
from dust3r_sfm.training.data_file import read_data
from dust3r_sfm.training.datasets.mixture import Mixture
from dust3r_sfm.training.datasets.world import World
from dust3r_sfm.training.kinds import AnyNetwork, new_network, started_network
from dust3r_sfm.training.loop import LoopOptions, Trainer
from dust3r_sfm.training.presets import PRESETS, Preset
from dust3r_sfm.training.processes import Processes, joined_processes

logger = logging.getLogger("dust3r_sfm")

_UNSEEN = 10_000
"""Added to the seed for the scenes that judge: chosen by hand, beyond the scenes of an epoch."""
_RECORD = "training.json"


def train(out: Path, options: TrainOptions, progress: Progress | None = None) -> Path:
    """Train a network, or go on with one that was stopped. Start it with `torchrun` to use several GPUs.

    Args:
        out: receives checkpoint.pt, weights/, best/, log.csv, log.svg, validation.png and training.json.
        options: what to train, on what, and how.
        progress: shows the epochs.

    Returns:
        The folder of the best weights, for `--weights`.

    Raises:
        InputError: unknown preset, unusable data sets, start weights or checkpoint.
        OutputError: OUT holds another run, or the disk is full.
        TrainingError: the loss is no number any more.
    """
    require_ranges(options)
    preset = _preset(options)
    device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    with joined_processes(device) as processes, locked(out) if processes.is_first else contextlib.nullcontext():
        record = _record(preset, options, processes)
        if processes.is_first:  # torchrun ends the others when the first one refuses
            _refuse_another_run(out, record, resume=options.resume)
        place = torch.device(f"cuda:{processes.local_rank}" if device == "cuda" else device)
        training, validation = _data(preset, options, place)
        trainer = Trainer(
            preset,
            _start(preset, options),
            (training, validation),
            out,
            device=place,
            options=LoopOptions(
                amp=options.amp,
                average=options.average,
                compile=options.compile,
                num_workers=options.num_workers,
                save_every=options.save_every,
                seed=options.seed,
                resume=options.resume,
            ),
            processes=processes,
        )
        if processes.is_first:
            write_json(out / _RECORD, record)
        best = trainer.run(progress if processes.is_first else Silent())
        if processes.is_first and training.broken:
            write_json(out / "broken.json", dict(training.broken.most_common()))
        return best


def _preset(options: TrainOptions) -> Preset:
    """The preset, with what the user wants otherwise."""
    if options.preset not in PRESETS:
        raise InputError(f"There is no preset '{options.preset}'; there are {', '.join(PRESETS)}.")
    preset = PRESETS[options.preset]
    schedule = preset.schedule
    if options.epochs is not None:
        share = options.epochs / schedule.epochs
        schedule = replace(schedule, epochs=options.epochs, warmup=schedule.warmup * share)
    if options.learning_rate is not None:
        schedule = replace(schedule, peak=options.learning_rate)
    return replace(preset, schedule=schedule, batch_size=options.batch_size or preset.batch_size)


def _data(
    preset: Preset, options: TrainOptions, device: torch.device
) -> tuple[Mixture | World, Mixture | World | None]:
    """What is trained on and what judges: the user's data, or the synthetic world where the preset lives in it."""
    if options.data is None and preset.validation_pairs:
        world = World(
            sizes=preset.sizes,
            batch_size=preset.batch_size,
            pairs_per_epoch=options.pairs_per_epoch or preset.pairs_per_epoch,
            seed=options.seed,
            device=device,
            textures=options.textures,
        )
        judged = max(1, preset.validation_pairs // preset.batch_size) * preset.batch_size
        return world, replace(world, sizes=preset.sizes[:1], pairs_per_epoch=judged, seed=options.seed + _UNSEEN)
    if options.textures is not None:
        raise InputError("--textures is for presets of the synthetic world without --data; leave one of the two out.")
    if options.data is None:
        raise InputError(f"Preset '{preset.name}' needs data sets: give --data data.toml (see docs/training.md).")
    return read_data(options.data, preset.sizes, preset.batch_size, options.seed)


def _start(preset: Preset, options: TrainOptions) -> AnyNetwork:
    if options.start is not None:
        return started_network(options.start, preset.config, options.seed)
    if preset.start:
        logger.warning(
            "Training starts from random weights; the recipe starts '%s' from %s.", preset.name, preset.start
        )
    return new_network(preset.config, options.seed)


def _record(preset: Preset, options: TrainOptions, processes: Processes) -> dict[str, Any]:
    """What a run is, for whoever finds its folder: a run that goes on must have the same."""
    return {
        "preset": preset.name,
        "data": str(options.data),
        "textures": None if options.textures is None else str(options.textures),
        "start": options.start,
        "seed": options.seed,
        "epochs": preset.schedule.epochs,
        "learning_rate": preset.schedule.peak,
        "batch_size": preset.batch_size,
        "pairs_per_epoch": options.pairs_per_epoch,
        "amp": options.amp,
        "average": options.average,
        "world_size": processes.world_size,
    }


def _refuse_another_run(out: Path, record: dict[str, Any], *, resume: bool) -> None:
    """Refuse a folder that holds another run; it is claimed once data and weights are known to be usable."""
    if not (out / _RECORD).is_file():
        return
    try:
        before = read_json(out / _RECORD)
        if not isinstance(before, dict):
            raise TypeError("it is no object")
    except (OSError, ValueError, TypeError) as error:
        raise OutputError(
            f"{out / _RECORD} is damaged ({error}); choose another folder.", path=out / _RECORD
        ) from error
    changed = [name for name in record if before.get(name) != record[name]]
    if changed and resume:
        name = changed[0]
        raise OutputError(
            f"{out} was trained with {name} {before.get(name)}, not {record[name]}; choose another folder.", path=out
        )
    if not resume:
        raise OutputError(f"{out} holds a training run; go on with --resume, or choose another folder.", path=out)
