"""Poses of a few frames of many sequences: estimated pair by pair or together, judged by all pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64
from threadpoolctl import threadpool_limits

from dust3r_sfm.alignment import align
from dust3r_sfm.errors import ReconstructionError
from dust3r_sfm.evaluation.multiview import (
    MultiviewErrors,
    PairErrors,
    multiview_errors,
    pooled,
    pose_errors,
    relative_pose_errors,
)
from dust3r_sfm.geometry.focal import weiszfeld_focal
from dust3r_sfm.geometry.transforms import compose, invert
from dust3r_sfm.images.read import read_images
from dust3r_sfm.matching.relative import information, pose_from_pnp
from dust3r_sfm.options import AlignOptions, ImageOptions, PredictorOptions, RunOptions
from dust3r_sfm.pairs.select import pairs_exhaustive
from dust3r_sfm.predictors.predictor import PairPredictor, check_predictor, load_predictor, predictor_facts
from dust3r_sfm.predictors.run import directed_edges
from dust3r_sfm.system.files import write_json
from dust3r_sfm.system.progress import Progress, hearing_phases
from dust3r_sfm.types import Edge, ImageSet, PairPrediction
from pipelines.frames import Choice, FrameSequence, SequenceSet, frame_choice
from pipelines.records import Records

Way = Literal["aligned", "pnp"]
COLUMNS = ("RRA@15", "RTA@15", "mAA@30")
"""Figures that the tables print."""


@dataclass(frozen=True, kw_only=True)
class MultiviewProtocol:
    """How sequences are judged.

    Attributes:
        num_frames: of each sequence.
        way: aligned: all frames together (DUSt3R's global alignment); pnp: each pair by itself.
        limit: sequences of each category for a first look; all with None.
        predict: the predictor.
        align: of the way `aligned`.
        run: seed (also of the frames), overwrite.
        frames: list of frames to take instead.
    """

    num_frames: int
    way: Way
    limit: int | None
    predict: PredictorOptions
    align: AlignOptions
    run: RunOptions
    frames: Path | None = None

    def choice(self) -> Choice:
        """Which frames of a sequence are judged; see `frame_choice`."""
        return frame_choice(self.num_frames, self.run.seed, self.frames)

    def sentences(self) -> tuple[str, ...]:
        """What a reader must know to compare."""
        return (
            (
                f"Frames of {self.frames}."
                if self.frames
                else f"{self.num_frames} frames of each sequence, chosen by seed {self.run.seed}: see frames.json; "
                "figures of other frames differ by several points."
            ),
            "All pairs; rotation geodesic, translation without a sign; accuracy strictly below the threshold; mAA in "
            "bins of 1 degree; no focal length given.",
            "Poses by global alignment of all directed pairs."
            if self.way == "aligned"
            else "Poses by PnP of each pair, focal length by Weiszfeld's method on each image's own pointmap.",
        )


@dataclass(frozen=True, kw_only=True)
class MultiviewResult:
    """What was measured.

    Attributes:
        mean: the figures of the table: unweighted mean over the groups.
        groups: figures by group, with counts.
        missing: what could not be judged, and why; with a limit, that too.
    """

    mean: dict[str, float]
    groups: dict[str, dict[str, float]]
    missing: dict[str, str]


def measure(data: SequenceSet, out: Path, protocol: MultiviewProtocol, progress: Progress) -> MultiviewResult:
    """Estimate and judge the poses of all sequences; a killed run is gone on with.

    Writes out/frames.json, the frames of each sequence, and out/samples.json, the errors of each pair.

    Raises:
        OutputError: `out` holds samples of other options.
    """
    chosen, cut = _limited(data.sequences, protocol.limit)
    records = Records(out, _inputs(data.root, protocol), overwrite=protocol.run.overwrite)
    write_json(out / "frames.json", {sequence.name: list(sequence.frames) for sequence in chosen})
    waiting = [sequence for sequence in chosen if not _is_done(sequence, records.samples)]
    if waiting:
        predictor = load_predictor(protocol.predict, protocol.run.seed)
        check_predictor(predictor)
        # BLAS on one thread: the matrices are small, and its threads only wait for each other.
        with threadpool_limits(limits=1, user_api="blas"), progress.stage("sequences") as step, records.saving():
            for index, sequence in enumerate(waiting):
                step(len(chosen) - len(waiting) + index, len(chosen))
                # The phases within a sequence would begin the bar, which says how long all will take, anew.
                with hearing_phases(lambda name: None):
                    records.add(sequence.name, _measure(data.root, sequence, predictor, protocol))
            step(len(chosen), len(chosen))
    return _result(chosen, records.samples, {**data.missing, **cut})


def estimate_relative_poses(
    images: ImageSet, predictions: Mapping[Edge, PairPrediction], seed: int
) -> tuple[Float64[np.ndarray, "p 3 4"], Bool[np.ndarray, " p"]]:
    """Find the pose of each pair (i < j) by PnP on the pointmap of j in i's frame (DUSt3R, section 4.2).

    Args:
        images: the frames.
        predictions: all directed pairs.
        seed: of the sampling.

    Returns:
        Camera j from camera i of each pair in the order of `np.triu_indices`, and which pairs have one.
    """
    pairs = list(combinations(range(len(images)), 2))
    poses, placed = np.tile(np.eye(3, 4), (len(pairs), 1, 1)), np.zeros(len(pairs), bool)
    for row, (i, j) in enumerate(pairs):
        reverse = predictions[j, i]
        focal = weiszfeld_focal(reverse.points1, information(reverse.confidence1))
        found = pose_from_pnp(i, j, predictions[i, j], focal, seed=seed) if np.isfinite(focal) and focal > 0 else None
        if found is not None:
            poses[row], placed[row] = found.cam2_from_cam1, True
    return poses, placed


def _is_done(sequence: FrameSequence, samples: Mapping[str, Any]) -> bool:
    sample = samples.get(sequence.name, {})
    return sample.get("frames") == list(sequence.frames) and "missing" not in sample


def _measure(
    root: Path, sequence: FrameSequence, predictor: PairPredictor, protocol: MultiviewProtocol
) -> dict[str, Any]:
    # No frame shares its focal length with another: none is known in the tables.
    images = read_images(root, ImageOptions(camera_sharing="per-image"), predictor.grid, sequence.frames)
    if images.dropped:
        left_out = images.dropped[0]
        return {"frames": list(sequence.frames), "missing": f"{left_out.name}: {left_out.reason}"}
    truth = sequence.cam_from_world[[sequence.frames.index(name) for name in images.names]]
    graph = pairs_exhaustive(len(images))
    predictor.prepare(images, graph)
    features = dict(enumerate(predictor.encode(images.views)))
    predictions = dict(predictor.predict(features, directed_edges(graph, one_direction=False)))
    if protocol.way == "pnp":
        first, second = np.triu_indices(len(images), k=1)
        found, placed = estimate_relative_poses(images, predictions, protocol.run.seed)
        errors = relative_pose_errors(compose(truth[second], invert(truth[first])), found, placed)
    else:
        errors = _aligned_errors(images, predictions, truth, protocol)
    return {
        "frames": list(sequence.frames),
        "rotation_deg": errors.rotation.tolist(),
        "translation_deg": errors.translation.tolist(),
    }


def _aligned_errors(
    images: ImageSet,
    predictions: Mapping[Edge, PairPrediction],
    truth: Float64[np.ndarray, "n 3 4"],
    protocol: MultiviewProtocol,
) -> PairErrors:
    try:
        scene = align(images, predictions, protocol.align, protocol.run.seed)
    except ReconstructionError:
        return pose_errors(truth, truth, np.zeros(len(truth), bool))
    return pose_errors(truth, scene.cam_from_world, scene.registered)


def _limited(sequences: Sequence[FrameSequence], limit: int | None) -> tuple[list[FrameSequence], dict[str, str]]:
    by_group: dict[str, list[FrameSequence]] = {}
    for sequence in sequences:
        by_group.setdefault(sequence.group, []).append(sequence)
    chosen = [sequence for group in by_group.values() for sequence in group[:limit]]
    if len(chosen) == len(sequences):
        return chosen, {}
    return chosen, {"--limit": f"{len(chosen)} of {len(sequences)} sequences were judged"}


def _result(chosen: Sequence[FrameSequence], samples: Mapping[str, Any], missing: dict[str, str]) -> MultiviewResult:
    by_group: dict[str, list[PairErrors]] = {}
    for sequence in chosen:
        sample = samples[sequence.name]
        if "missing" in sample:
            missing[sequence.name] = sample["missing"]
        else:
            errors = PairErrors(
                rotation=np.array(sample["rotation_deg"]), translation=np.array(sample["translation_deg"])
            )
            by_group.setdefault(sequence.group, []).append(errors)
    figures: dict[str, MultiviewErrors] = {group: multiview_errors(pooled(all_)) for group, all_ in by_group.items()}
    groups = {group: {"sequences": len(by_group[group]), **errors.rows()} for group, errors in figures.items()}
    columns = [name for name in next(iter(groups.values()), {}) if "@" in name]
    mean = {name: float(np.mean([group[name] for group in groups.values()])) for name in columns}
    return MultiviewResult(mean=mean, groups=groups, missing=missing)


def _inputs(root: Path, protocol: MultiviewProtocol) -> dict[str, Any]:
    """What a sample depends on; the limit and the categories only say which ones there are."""
    return {
        "data": str(root.resolve()),
        "num_frames": None if protocol.frames else protocol.num_frames,
        "frames": protocol.frames,
        "way": protocol.way,
        "align": asdict(protocol.align) if protocol.way == "aligned" else None,
        "seed": protocol.run.seed,
        **predictor_facts(protocol.predict),
    }
