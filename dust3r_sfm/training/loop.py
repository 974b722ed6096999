"""The training loop: steps, validation, checkpoints, and going on exactly where a run stopped."""

import copy
import json
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dust3r_sfm.errors import TrainingError
from dust3r_sfm.system.progress import Progress, Silent, Step
from dust3r_sfm.training.augment import jitter
from dust3r_sfm.training.batch import Batch
from dust3r_sfm.training.checkpoint import Position, read_state, write_state
from dust3r_sfm.training.kinds import AnyNetwork, write_weights
from dust3r_sfm.training.log import Log
from dust3r_sfm.training.objective import SymmetricForward, predict
from dust3r_sfm.training.picture import write_picture
from dust3r_sfm.training.presets import Preset
from dust3r_sfm.training.processes import Processes
from dust3r_sfm.training.schedule import parameter_groups
from dust3r_sfm.training.supply import BatchSource, supply

_BETAS = (0.9, 0.95)
"""AdamW's, Wang et al. 2024, released code."""


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How a run is carried out; none of it changes what is learned, but `amp`, `average` and `seed`.

    Attributes:
        amp: bfloat16 autocast.
        average: decay of the exponential moving average of the weights, whose result is kept; None: no average.
        compile: torch.compile.
        num_workers: threads that make batches.
        log_every: optimizer steps between rows of the log.
        save_every: optimizer steps between checkpoints.
        seed: of the colour jitter.
        resume: go on from OUT/checkpoint.pt, where there is one.
    """

    amp: bool = False
    average: float | None = None
    compile: bool = False
    num_workers: int = 4
    log_every: int = 20
    save_every: int = 500
    seed: int = 0
    resume: bool = False


class Trainer:
    """A training run.

    OUT/ receives checkpoint.pt (the whole state), weights/ and best/ (networks that `--weights` takes), log.csv,
    log.svg and validation.png.

    Args:
        preset: what is trained and how.
        network: starts the run; goes on from OUT/checkpoint.pt where the options say so.
        sources: what is trained on, and what judges (None: nothing does).
        out: output folder.
        device: where to compute.
        options: how.
        processes: this process among others.
    """

    def __init__(
        self,
        preset: Preset,
        network: AnyNetwork,
        sources: tuple[BatchSource, BatchSource | None],
        out: Path,
        *,
        device: torch.device,
        options: LoopOptions | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.preset, self.out, self.device = preset, out, device
        self.training, self.validation = sources
        self.options, self.processes = options or LoopOptions(), processes or Processes()
        self.network = network.to(device).requires_grad_(True)
        self.optimizer = torch.optim.AdamW(parameter_groups(self.network, preset.weight_decay), betas=_BETAS)
        self.average = copy.deepcopy(self.network).requires_grad_(False) if self.options.average else None
        self.position = Position()
        if self.options.resume and (out / "checkpoint.pt").is_file():
            state = (self.network, self.optimizer, self.average)
            self.position = read_state(out / "checkpoint.pt", preset.name, *state)
        self.steps_per_epoch = self.training.batches_per_epoch(self.processes.world_size) // preset.accumulation
        if not self.steps_per_epoch:
            raise TrainingError("An epoch holds less than one step; give more pairs, or a smaller batch.")
        self._forward = self._wrapped()
        # Last, because it is the first thing that is written: a run that cannot start leaves nothing behind.
        self.log = Log(out / "log.csv", (self.position.epoch, self.position.step)) if self.processes.is_first else None

    def run(self, progress: Progress | None = None) -> Path:
        """Train to the end of the schedule.

        Returns:
            The folder of the best weights (of the last, where nothing validates).

        Raises:
            TrainingError: the loss is no number any more.
            OutputError: the disk is full.
        """
        progress, num_epochs = progress or Silent(), math.ceil(self.preset.schedule.epochs)
        for epoch in range(self.position.epoch, num_epochs):
            with progress.stage(f"epoch {epoch + 1}/{num_epochs}") as step:
                self._train(epoch, step)
            self._validate(epoch)
            self.position = Position(epoch=epoch + 1, step=0, best=self.position.best)
            self._save()
        return self.out / ("best" if (self.out / "best").is_dir() else "weights")

    def _wrapped(self) -> nn.Module:
        forward: nn.Module = SymmetricForward(self.network, self.options.amp)
        if self.processes.world_size > 1:
            # The mask token serves CroCo alone and never has a gradient here.
            forward = DistributedDataParallel(forward, find_unused_parameters=True)
        if self.options.compile:
            forward.compile()
        return forward

    def _train(self, epoch: int, progress: Step) -> None:
        accumulation = self.preset.accumulation
        batches = self._batches(self.training, epoch, self.position.step * accumulation)
        self.network.train()
        since, pairs, waiting, losses = time.perf_counter(), 0, 0.0, []
        for step in range(self.position.step, self.steps_per_epoch):
            rate = self.preset.schedule.rate(epoch + step / self.steps_per_epoch)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            for turn in range(accumulation):
                asked = time.perf_counter()
                batch = next(batches)
                waiting += time.perf_counter() - asked
                losses.append(self._learn(batch, (epoch, step, turn), last=turn == accumulation - 1))
                pairs += len(batch) // 2
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self._keep_average()
            self.position = Position(epoch=epoch, step=step + 1, best=self.position.best)
            progress(step + 1, self.steps_per_epoch)
            if (step + 1) % self.options.log_every == 0 or step + 1 == self.steps_per_epoch:
                seconds = time.perf_counter() - since
                self._log("train", sum(losses) / len(losses), rate, pairs / seconds, waiting / seconds)
                since, pairs, waiting, losses = time.perf_counter(), 0, 0.0, []
            if (step + 1) % self.options.save_every == 0 and step + 1 < self.steps_per_epoch:
                self._save()

    def _learn(self, batch: Batch, moment: tuple[int, int, int], *, last: bool) -> float:
        """Forward and backward of one pass; gradients add up until the last of a step."""
        batch = jitter(batch.to(self.device), self.preset.jitter, (self.options.seed, *moment, self.processes.rank))
        with self._without_sync() if not last else nullcontext():
            loss, _ = self.preset.criterion(predict(self._forward, batch), batch.target)
            (loss / self.preset.accumulation).backward()  # type: ignore[no-untyped-call]
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss is {value} in epoch {moment[0] + 1}, step {moment[1] + 1}; lower the learning rate and go "
                f"on from {self.out / 'checkpoint.pt'}."
            )
        return value

    def _without_sync(self) -> AbstractContextManager[object]:
        return self._forward.no_sync() if isinstance(self._forward, DistributedDataParallel) else nullcontext()

    def _keep_average(self) -> None:
        if self.average is None or self.options.average is None:
            return
        with torch.no_grad():
            pairs = zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True)
            for kept, now in pairs:
                if kept.is_floating_point():
                    kept.lerp_(now, 1 - self.options.average)

    @torch.no_grad()
    def _validate(self, epoch: int) -> None:
        """Judge the weights that would be kept; the best so far are written."""
        if self.validation is None or not self.processes.is_first:
            return
        kept = self._kept().eval()
        forward = SymmetricForward(kept, self.options.amp)
        losses: list[float] = []
        details: list[dict[str, float]] = []
        for number, made in enumerate(supply(self.validation, 0, 0, self.options.num_workers)):
            batch = made.to(self.device)
            prediction = predict(forward, batch)
            loss, detail = self.preset.validation(prediction, batch.target)
            losses.append(float(loss))
            details.append(detail)
            if number == 0:
                write_picture(self.out / "validation.png", batch, prediction)
        mean = sum(losses) / len(losses)
        means = {name: sum(detail[name] for detail in details) / len(details) for name in details[0]}
        self._log("validation", mean, details=json.dumps({name: round(value, 5) for name, value in means.items()}))
        if mean < self.position.best:
            self.position.best = mean
            write_weights(kept, self.out / "best")

    def _kept(self) -> AnyNetwork:
        return self.network if self.average is None else self.average

    def _batches(self, source: BatchSource, epoch: int, first: int) -> Iterator[Batch]:
        return supply(source, epoch, first, self.options.num_workers, self.processes.rank, self.processes.world_size)

    def _log(
        self, kind: str, loss: float, rate: float = 0.0, speed: float = 0.0, waiting: float = 0.0, details: str = ""
    ) -> None:
        if self.log is None:
            return
        self.log.add(
            epoch=self.position.epoch,
            step=self.position.step,
            kind=kind,
            loss=f"{loss:.6g}",
            rate=f"{rate:.4g}",
            pairs_per_second=f"{speed:.4g}",
            waiting=f"{waiting:.3f}",
            details=details,
        )
        self.log.plot(self.out / "log.svg")

    def _save(self) -> None:
        if self.processes.is_first:
            write_state(
                self.out / "checkpoint.pt", self.preset.name, self.position, self.network, self.optimizer, self.average
            )
            write_weights(self._kept(), self.out / "weights")
