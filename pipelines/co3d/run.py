"""The benchmark of relative poses on CO3Dv2."""

from pathlib import Path
from typing import Annotated

import tyro

from dust3r_sfm.options import AlignOptions, PredictorOptions, RunOptions
from dust3r_sfm.system.terminal import Terminal
from pipelines.co3d.dataset import read_sequences
from pipelines.co3d.published import CATEGORIES, published
from pipelines.multiview import COLUMNS, MultiviewProtocol, Way, measure
from pipelines.report import Report, write_report


def co3d(
    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    predictor: PredictorOptions,
    align: AlignOptions,
    run: RunOptions,
    categories: tuple[str, ...] = CATEGORIES,
    num_frames: int = 10,
    frames: Path | None = None,
    way: Way = "aligned",
    limit: int | None = None,
    annotations: Path | None = None,
) -> None:
    """Estimate relative poses on CO3Dv2 and print RRA, RTA and mAA beside published ones.

    Args:
        data: Folder of the categories, as unpacked.
        out: Folder for frames, samples and tables.
        predictor: Which predictor.
        align: Global alignment, of the way `aligned`.
        run: How to run; the seed also chooses the frames.
        categories: Categories to work on.
        num_frames: Frames of each sequence; the tables have 10, 5 and 3.
        frames: List of frames to take instead, as frames.json of a run.
        way: aligned: all frames together; pnp: each pair by itself.
        limit: Sequences of each category, for a first look.
        annotations: Folder of RelPose++'s CATEGORY_test.jgz; default: OUT/annotations, made from the data set.
    """
    protocol = MultiviewProtocol(
        num_frames=num_frames, way=way, limit=limit, predict=predictor, align=align, run=run, frames=frames
    )
    read = read_sequences(data, categories, annotations or out / "annotations", protocol.choice(), Terminal())
    result = measure(read, out, protocol, Terminal())
    left_out = (
        {} if set(categories) == set(CATEGORIES) else {"--categories": f"{len(set(categories))} of 41 categories"}
    )
    report = Report(
        pipeline="CO3Dv2",
        method=f"{predictor.predictor}, {way}",
        protocol=(*protocol.sentences(), "Pairs of a category together; unweighted mean over categories."),
        columns=COLUMNS,
        measured=result.mean,
        groups=result.groups,
        missing={**result.missing, **left_out},
        published=published(num_frames),
    )
    print(write_report(out, report))
