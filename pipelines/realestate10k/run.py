"""The benchmark of relative poses on RealEstate10K."""

from pathlib import Path
from typing import Annotated

import tyro

from dust3r_sfm.options import AlignOptions, PredictorOptions, RunOptions
from dust3r_sfm.system.terminal import Terminal
from pipelines.multiview import COLUMNS, MultiviewProtocol, Way, measure
from pipelines.realestate10k.dataset import LIST, read_sequences
from pipelines.realestate10k.published import published
from pipelines.report import Report, write_report


def realestate10k(
    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")],
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    predictor: PredictorOptions,
    align: AlignOptions,
    run: RunOptions,
    sequences: Path | None = None,
    num_frames: int = 10,
    frames: Path | None = None,
    way: Way = "aligned",
    limit: int | None = None,
) -> None:
    """Estimate relative poses on RealEstate10K and print RRA, RTA and mAA beside published ones.

    Args:
        data: Folder of the camera files test/ID.txt and of the frames.
        out: Folder for frames, samples and tables.
        predictor: Which predictor.
        align: Global alignment, of the way `aligned`.
        run: How to run; the seed also chooses the frames.
        sequences: List of sequences; default: DATA/re10k_test_1800.txt where it is there, else all of DATA/test.
        num_frames: Frames of each sequence; the tables have 10, 5 and 3.
        frames: List of frames to take instead, as frames.json of a run.
        way: aligned: all frames together; pnp: each pair by itself.
        limit: Sequences, for a first look.
    """
    protocol = MultiviewProtocol(
        num_frames=num_frames, way=way, limit=limit, predict=predictor, align=align, run=run, frames=frames
    )
    listed = sequences or (data / LIST if (data / LIST).is_file() else None)
    read = read_sequences(data, listed, protocol.choice())
    result = measure(read, out, protocol, Terminal())
    which = f"the {read.expected} of {listed.name}" if listed else f"all {read.expected} of DATA/test"
    report = Report(
        pipeline="RealEstate10K",
        method=f"{predictor.predictor}, {way}",
        protocol=(*protocol.sentences(), f"{len(read.sequences)} sequences are here, of {which}; all pairs together."),
        columns=COLUMNS,
        measured=result.mean,
        groups=result.groups,
        missing=result.missing,
        expected=read.expected,
        published=published(num_frames),
    )
    print(write_report(out, report))
