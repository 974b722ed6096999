"""The whole chain: a folder of photographs in, a COLMAP model out.

Each stage leaves its file in the output folder and is skipped when that file is there and nothing it depends on has
changed, so a killed run goes on where it was, and a changed option redoes only what follows from it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from threadpoolctl import threadpool_limits

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.known import with_known
from dust3r_sfm.images.priors.read import with_priors
from dust3r_sfm.images.read import read_images
from dust3r_sfm.matching.windows import require_descriptors
from dust3r_sfm.options import ReconstructOptions
from dust3r_sfm.predictors.dust3r import NetworkPredictor
from dust3r_sfm.predictors.predictor import PairPredictor, load_predictor
from dust3r_sfm.predictors.shard import parse_shard
from dust3r_sfm.report import write_report
from dust3r_sfm.runs.folder import require_apart
from dust3r_sfm.runs.job import begin, work
from dust3r_sfm.runs.stages import CHAIN
from dust3r_sfm.runs.summary import Summary, summarize
from dust3r_sfm.system.parallel import workers
from dust3r_sfm.system.progress import Progress, Silent
from dust3r_sfm.types import ImageSet

Stage = Literal["pairs", "predict", "align", "export"]


def reconstruct(
    photos: Path | Sequence[Path],
    out: Path,
    options: ReconstructOptions | None = None,
    *,
    until: Stage = "export",
    progress: Progress | None = None,
) -> Summary | None:
    """Reconstruct photographs.

    Args:
        photos: folder of photographs, sub-folders included; or a list of files and folders (see `read_images`).
        out: output folder: pairs.txt, predictions.h5, scene.h5, sparse/0, database.db, dense, run.json.
        options: options of every stage.
        until: last stage to run.
        progress: shows the stages; silent by default.

    Returns:
        What the run came to, or None when it ends before the model is written.

    Raises:
        InputError: the photographs or options cannot be used.
        OutputError: the output folder holds another run, is not writable, or the disk is full.
        ReconstructionError: the photographs do not overlap.
    """
    options = options or ReconstructOptions()
    # BLAS on one thread: the matrices are small, and its threads only wait for each other.
    with threadpool_limits(limits=1, user_api="blas"), workers(options.predict.num_workers):
        return _reconstruct(photos, out, options, until, progress or Silent())


def _reconstruct(
    photos: Path | Sequence[Path], out: Path, options: ReconstructOptions, until: Stage, progress: Progress
) -> Summary | None:
    suffix = _shard_suffix(options, until)
    predictor = load_predictor(options.predict, options.run.seed)
    if options.match.fine_size is not None:
        require_descriptors(predictor)
    with progress.stage("images") as step:
        images = read_images(photos, options.images, predictor.grid, progress=step)
        images = with_priors(with_known(images, options.known), options.known)
    _require_enough(images, predictor)
    for given in [photos] if isinstance(photos, Path) else photos:
        require_apart(given, out)
    job, run = begin(out, images, predictor, options, CHAIN, until, suffix)
    work(job, run, CHAIN, until, progress)
    if until != "export":
        return None
    summary = summarize(run, job.images, job.scene)
    write_report(out)
    return summary


def _require_enough(images: ImageSet, predictor: PairPredictor) -> None:
    if len(images) >= 2 or (len(images) == 1 and isinstance(predictor, NetworkPredictor)):
        return
    left_out = "".join(f"; {dropped.name} was left out: {dropped.reason}" for dropped in images.dropped[:3])
    if not images.views:
        raise InputError(f"{images.root} holds no photograph that can be used{left_out}.")
    raise InputError(
        f"{images.root} holds one usable photograph ({images.views[0].name}){left_out}; a model needs at least two "
        "overlapping ones (one alone gives depth only with a network predictor such as dust3r-512-dpt)."
    )


def _shard_suffix(options: ReconstructOptions, until: Stage) -> str:
    """What tells the files of this shard from those of others; empty when the run is no shard."""
    if options.predict.shard is None:
        return ""
    if until != "predict" or options.run.overwrite or options.predict.ray:
        raise InputError(
            "--shard goes with `dust3r-sfm predict`, and neither with --overwrite nor --ray, because shards share an "
            "output folder; when all are done, `dust3r-sfm reconstruct` without --shard goes on."
        )
    return parse_shard(options.predict.shard).suffix
