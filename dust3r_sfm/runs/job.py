"""A run at work: what its stages have at hand, and how they are done one after the other."""

import dataclasses
import platform
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dust3r_sfm import __version__
from dust3r_sfm.features.matcher import choose_matcher, matcher_facts
from dust3r_sfm.images.transcode import transcode
from dust3r_sfm.options import PredictOptions, ReconstructOptions
from dust3r_sfm.pairs.graph import read_pairs
from dust3r_sfm.predictors.predictor import PairPredictor, check_predictor
from dust3r_sfm.predictors.store import PredictionStore
from dust3r_sfm.runs.folder import RunFolder
from dust3r_sfm.runs.record import Facts, Photographs
from dust3r_sfm.scene_file import read_scene, read_scenes
from dust3r_sfm.system.digest import recall, remember
from dust3r_sfm.system.progress import Progress, Step
from dust3r_sfm.types import ImageSet, PairGraph, Scene

PAIRS: str = "pairs.txt"
PREDICTIONS: str = "predictions.h5"
SCENE: str = "scene.h5"
SCENES: str = "scene_*.h5"
"""Files that one stage leaves for the next; `SCENES` are the parts that stay apart from the largest."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What the stages of a run have at hand; what an earlier stage made is read from its file when it is asked for.

    Attributes:
        out: the output folder.
        options: of every stage.
        predictor: the one of the options.
        originals: the photographs as the user named them.
        images: the same in files that COLMAP reads.
    """

    out: Path
    options: ReconstructOptions
    predictor: PairPredictor
    originals: ImageSet
    images: ImageSet

    @cached_property
    def graph(self) -> PairGraph:
        """The selected pairs."""
        return read_pairs(self.out / PAIRS, self.images.names)

    @cached_property
    def predictions(self) -> PredictionStore:
        """The predictions of the pairs."""
        return PredictionStore(self.out / PREDICTIONS, self.images.names)

    @cached_property
    def scene(self) -> Scene:
        """The aligned scene, the largest if there are several."""
        return read_scene(self.out / SCENE)

    @cached_property
    def scenes(self) -> list[Scene]:
        """All parts of the alignment, the largest first."""
        return read_scenes(self.out / SCENE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """One row of the table of stages.

    Attributes:
        name: of the stage, as in run.json.
        artefacts: what it writes into the output folder, as patterns; the first must be there for it to be done.
        inputs: gives the JSON values that its result depends on.
        make: does it; None for what every run does at its start.
        announce: a sentence to say before it is done.
    """

    name: str
    artefacts: tuple[str, ...]
    inputs: Callable[[ImageSet, ReconstructOptions], dict[str, Any]]
    make: Callable[[Job, Step], Facts] | None
    announce: Callable[[Job], None] | None = None


_OLD_DEFAULTS = ReconstructOptions(predict=PredictOptions(matcher="sift"))
"""What a record that lacks an option was made with: SIFT alone, before there were matchers."""


def leading(chain: Sequence[Stage], last: str) -> Sequence[Stage]:
    """The stages up to one, included."""
    return chain[: [stage.name for stage in chain].index(last) + 1]


def artefacts(chain: Sequence[Stage]) -> dict[str, tuple[str, ...]]:
    """What each stage writes, in order; see `RunFolder`."""
    return {stage.name: stage.artefacts for stage in chain}


def begin(
    out: Path,
    images: ImageSet,
    predictor: PairPredictor,
    options: ReconstructOptions,
    chain: Sequence[Stage],
    until: str = "export",
    suffix: str = "",
) -> tuple[Job, RunFolder]:
    """Take the output folder and say in run.json what the run is.

    Args:
        out: output folder.
        images: the photographs, with what is known about them.
        predictor: the one of the options.
        options: of every stage.
        chain: the table of stages.
        until: the last that the run will do.
        suffix: of a shard's files.

    Raises:
        PredictorError: the weights cannot be used; the folder is then as it was.
        OutputError: the folder holds another run, is not writable, or the disk is full.
    """
    recall(out)
    inputs = {stage.name: stage.inputs(images, options) for stage in leading(chain, until)}
    predicts = "predict" in inputs
    if predicts and not (out / f"run{suffix}.json").exists():
        check_predictor(predictor)  # first: a folder of unusable weights would be no place for the next try
        _check_matcher(options)
    photographs = Photographs.of(images)
    unmeasured = dataclasses.replace(images, priors=None)
    run = RunFolder(
        out,
        inputs,
        artefacts(chain),
        defaults={stage.name: stage.inputs(unmeasured, _OLD_DEFAULTS) for stage in chain if stage.make is not None},
        photographs=photographs,
        overwrite=options.run.overwrite,
        suffix=suffix,
    )
    remember(out)
    job = Job(
        out=out,
        options=options,
        predictor=predictor,
        originals=images,
        images=transcode(images, out / f"images{suffix}"),
    )
    _describe(run, job, photographs, predicts)
    return job, run


_GONE_WHEN_CLEAN = ("pairs", "predict")
"""Stages whose files no later one needs when all is done; `clean` removes those of the second."""


def work(job: Job, run: RunFolder, chain: Sequence[Stage], until: str, progress: Progress) -> None:
    """Do the stages up to one, included, that are not done yet."""
    stages = leading(chain, until)
    needed = [stage.name for stage in stages if stage.make is not None and stage.name not in _GONE_WHEN_CLEAN]
    if needed and needed[-1] == until and all(map(run.is_done, needed)):
        return
    for stage in stages:
        if stage.make is None or run.is_done(stage.name):
            continue
        if stage.announce is not None:
            stage.announce(job)
        started = time.perf_counter()
        with progress.stage(stage.name) as step:
            facts = stage.make(job, step)
        run.finish(stage.name, time.perf_counter() - started, facts)


def _check_matcher(options: ReconstructOptions) -> None:
    """Compare checksums of published weights; load the user's own, of which only the network can say what they are.

    Raises:
        WeightsError: they cannot be used.
    """
    predict = options.predict
    matcher = choose_matcher(predict.matcher, predict.matcher_weights, predict.device)
    if matcher is not None:
        matcher_facts(matcher)
        if predict.matcher_weights is not None:
            matcher.check()


def _describe(run: RunFolder, job: Job, photographs: Photographs, predicts: bool) -> None:
    """Record what a reader of run.json wants to know; weights that cannot be used are noticed here, before any work."""
    run.record.versions = {
        "dust3r_sfm": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "pycolmap", "numpy", "scipy")},
    }
    if predicts and not (run.is_done("pairs") and run.is_done("predict")):
        run.record.predictor = check_predictor(job.predictor)
    elif run.record.predictor is None:
        run.record.predictor = {"name": job.predictor.name, "licence": job.predictor.licence}
    predict = job.options.predict
    matcher = choose_matcher(predict.matcher, predict.matcher_weights, predict.device)
    run.record.matcher = None if matcher is None else matcher_facts(matcher)
    run.record.options = dataclasses.asdict(job.options)
    run.record.photographs = photographs
    run.save()
