"""How good are a predictor's pairs? Relative poses and depth of pairs of real photographs, before any alignment.

    python benchmarks/pairs.py                                            # the embedded predictor
    python benchmarks/pairs.py classical dust3r-mini=OUT/best             # beside another one, with its weights
    python benchmarks/pairs.py --wide --matcher sift aliked-lightglue     # hard pairs, with and without learned matches

Each set of DUST3R_SFM_DATA (default ../shared/data) gives at most --pairs pairs of photographs whose cameras turn by
less than 40 degrees, spread over the set. `nothing` is a predictor that sees no motion. Depth (of the first photograph
of each pair, after median scaling) is compared where the set brings depth maps. A pair without a pose counts as 180
degrees. --wide takes pairs of fox that turn by 35 to 70 degrees and all of Sacré-Cœur, at their true intrinsics, and
counts those that are right within 5 degrees of rotation and 10 of direction. --alone predicts each pair as a set of two
photographs: it has no others to believe, and a learned matcher is asked about every pair that SIFT leaves undecided.
"""

import itertools
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from benchmarks.common import DATA, RESULTS, Row, write_record
from dust3r_sfm.errors import InputError
from dust3r_sfm.evaluation.depth import DepthErrors, depth_in_image, evaluate_depth, mean_errors
from dust3r_sfm.evaluation.poses import relative_errors
from dust3r_sfm.geometry.transforms import compose, invert, rotation_angle
from dust3r_sfm.images.known import with_known
from dust3r_sfm.images.read import read_images
from dust3r_sfm.matching.relative import pose_from_both_directions
from dust3r_sfm.options import ImageOptions, KnownOptions, PredictOptions
from dust3r_sfm.predictors.predictor import load_predictor
from dust3r_sfm.predictors.run import predict_pairs
from dust3r_sfm.training.datasets.depth_files import read_depth
from dust3r_sfm.types import Edge, ImageSet, PairGraph, PairPrediction, View

DEPTHS = {"7scenes_redkitchen": ("depth_color", 1000.0), "stereo_motorcycle": ("depth", 10000.0)}
"""Folder of the depth maps, and the values that make a metre."""
SETS = ("fox_a", "strecha_fountain_p11", "strecha_herzjesu_p8", *DEPTHS)
LARGEST_TURN = 40.0
WIDE = {"fox_a": (35.0, 70.0, 20), "sacre_coeur": (0.0, 180.0, 45)}
"""Least and largest turn of the hard pairs of a set, and how many."""
RIGHT_DEGREES = (5.0, 10.0)
"""Errors of rotation and of direction up to which a hard pair is right."""
THRESHOLDS = (5, 15)


def photographs(name: str, options: PredictOptions, *, calibrated: bool = False) -> tuple[ImageSet, np.ndarray]:
    """A set without poses, which could help a predictor, and the true ones of its upright photographs (n, 3, 4)."""
    folder = DATA / name
    info = folder / "info.json"
    image_root = json.loads(info.read_text(encoding="utf-8"))["image_root"] if info.is_file() else "images"
    content = json.loads((folder / "poses.json").read_text(encoding="utf-8"))
    names = sorted(image for image, entry in content.items() if isinstance(entry, dict) and "tvec" in entry)
    grid = load_predictor(options, seed=0).grid
    images = read_images(folder / image_root, ImageOptions(), grid, names=names)
    posed = with_known(images, KnownOptions(poses=folder / "poses.json"))
    if calibrated:
        images = with_known(images, KnownOptions(intrinsics=str(folder / "poses.json")))
    return images, np.array([view.known_cam_from_world for view in posed.views])


def chosen_pairs(poses: np.ndarray, num_pairs: int, least: float = 0.0, largest: float = LARGEST_TURN) -> np.ndarray:
    """Pairs that turn by so much (degrees), spread evenly over all of them (p, 2)."""
    first, second = np.triu_indices(len(poses), k=1)
    turn = rotation_angle(compose(poses[second], invert(poses[first]))[:, :, :3])
    pairs = np.stack([first, second], axis=1)[(least <= turn) & (turn < largest)]
    return pairs[np.unique(np.linspace(0, len(pairs) - 1, min(num_pairs, len(pairs))).astype(int))]


def predicted(
    images: ImageSet, pairs: np.ndarray, options: PredictOptions, *, alone: bool
) -> tuple[dict[Edge, PairPrediction], float]:
    """Predictions of both directions of pairs (p, 2), made together or each alone, and the CPU seconds of a pair."""
    spent = time.process_time()
    sets = [[pair] for pair in pairs.tolist()] if alone else [pairs.tolist()]
    predictions = {edge: each for edges in sets for edge, each in predicted_set(images, edges, options).items()}
    return predictions, round((time.process_time() - spent) / len(pairs), 2)


def predicted_set(images: ImageSet, pairs: list[list[int]], options: PredictOptions) -> dict[Edge, PairPrediction]:
    """Predictions of both directions of pairs, from the photographs that are in them and no others."""
    used, edges = np.unique(np.array(pairs), return_inverse=True)
    edges = edges.reshape(-1, 2)
    graph = PairGraph(num_images=len(used), edges=edges, weights=np.ones(len(edges)))
    chosen = replace(images, views=tuple(images.views[index] for index in used))
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "predictions.h5"
        predictions = predict_pairs(load_predictor(options, seed=0), chosen, graph, store, options)
        both = [(i, j) for pair in edges.tolist() for i, j in (pair, pair[::-1])]
        return {(int(used[i]), int(used[j])): predictions[i, j] for i, j in both}


def pose_errors(
    pairs: np.ndarray, predictions: Mapping[Edge, PairPrediction], true_relative: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Errors of rotation and direction of each pair in degrees (p,), 180 where it has no pose."""
    found, placed = np.tile(np.eye(3, 4), (len(pairs), 1, 1)), np.zeros(len(pairs), bool)
    for row, (i, j) in enumerate(pairs.tolist()):
        pose = pose_from_both_directions(i, j, predictions[i, j], predictions[j, i])
        if pose is not None:
            found[row], placed[row] = pose.cam2_from_cam1, True
    return relative_errors(true_relative, found, placed)


def measure_wide(name: str, options: PredictOptions, *, alone: bool = False) -> Row:
    """Predict the hard pairs of a set, and count those that are right."""
    images, truth = photographs(name, options, calibrated=True)
    least, largest, count = WIDE[name]
    pairs = chosen_pairs(truth, count, least, largest)
    predictions, seconds = predicted(images, pairs, options, alone=alone)
    turn, direction = pose_errors(pairs, predictions, compose(truth[pairs[:, 1]], invert(truth[pairs[:, 0]])))
    right = (turn <= RIGHT_DEGREES[0]) & (direction <= RIGHT_DEGREES[1])
    return {
        "set": name,
        "turn": [least, largest],
        "pairs": len(pairs),
        "right": int(right.sum()),
        "rra5": share(turn <= 5),
        "seconds_per_pair": seconds,
    }


def measure(name: str, options: PredictOptions, num_pairs: int, *, alone: bool = False) -> Row:
    """Predict the pairs of a set and compare."""
    images, truth = photographs(name, options)
    pairs = chosen_pairs(truth, num_pairs)
    true_relative = compose(truth[pairs[:, 1]], invert(truth[pairs[:, 0]]))
    depths: list[DepthErrors] = []
    predictions, seconds = predicted(images, pairs, options, alone=alone)
    turn, direction = pose_errors(pairs, predictions, true_relative)
    for i, j in pairs.tolist():
        depth = true_depth(name, images.views[i])
        if depth is not None:
            there = predictions[i, j]
            z = np.where(there.confidence1 > 1, there.points1[..., 2], 0).astype(np.float32)
            depths += compared(depth_in_image(z, images.views[i].network_from_image, images.views[i].size), depth)
    staying = rotation_angle(true_relative[:, :, :3])
    row = {"set": name, "pairs": len(pairs), "seconds_per_pair": seconds}
    for threshold in THRESHOLDS:
        row[f"rra{threshold}"] = share(turn <= threshold)
        row[f"rra{threshold}_nothing"] = share(staying <= threshold)
        row[f"rta{threshold}"] = share(direction <= threshold)
    if depths:
        mean = mean_errors(depths)
        row |= {"abs_rel": round(100 * mean.abs_rel, 2), "delta1": round(100 * mean.delta1, 1)}
        row["density"] = round(100 * mean.density, 1)
    return row


def true_depth(name: str, view: View) -> np.ndarray | None:
    """The true depth map of a photograph, if its set has one."""
    if name not in DEPTHS:
        return None
    folder, unit = DEPTHS[name]
    stem = Path(view.name).name.split(".")[0]
    files = sorted((DATA / name / folder).glob(f"{stem}.*png"))
    return read_depth(files[0], unit) if files else None


def compared(depth: np.ndarray, truth: np.ndarray) -> list[DepthErrors]:
    """Errors of one map; none where the two have no pixel in common."""
    try:
        return [evaluate_depth(depth, truth)]
    except InputError:
        return []


def share(which: np.ndarray) -> float:
    """Percent."""
    return round(100.0 * float(which.mean()), 1)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What is measured."""

    predictors: tyro.conf.Positional[tuple[str, ...]] = ("classical",)
    """NAME or NAME=WEIGHTS."""
    sets: tuple[str, ...] = SETS
    """Folders of the data."""
    pairs: int = 60
    """At most so many of a set."""
    device: str = "auto"
    """Where networks compute."""
    matcher: tuple[str, ...] = ("auto",)
    """Of local features, each in turn."""
    wide: bool = False
    """Hard pairs."""
    alone: bool = False
    """Each pair as a set of two."""
    out: Path | None = None
    """Where the result goes; default: pairs.json or pairs_wide.json."""


def main(arguments: Arguments) -> None:
    """Measure every predictor on every set, print a line each, write the JSON."""
    rows = []
    sets = tuple(WIDE) if arguments.wide else arguments.sets
    for name, predictor, matcher in itertools.product(sets, arguments.predictors, arguments.matcher):
        kind, _, weights = predictor.partition("=")
        options = PredictOptions(predictor=kind, weights=weights or None, device=arguments.device, matcher=matcher)
        if arguments.wide:
            measured = measure_wide(name, options, alone=arguments.alone)
        else:
            measured = measure(name, options, arguments.pairs, alone=arguments.alone)
        rows.append({"predictor": predictor, "matcher": matcher, "alone": arguments.alone, **measured})
        print(json.dumps(rows[-1]), flush=True)
    write_record(arguments.out or RESULTS / ("pairs_wide.json" if arguments.wide else "pairs.json"), rows)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
