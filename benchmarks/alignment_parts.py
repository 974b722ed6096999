"""The parts of the alignment that have a yardstick of their own: focal length, matching, and real photographs."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import zoom
from scipy.spatial import KDTree

from benchmarks import alignment_problems as problems
from benchmarks import alignment_reference as reference
from benchmarks.common import DATA
from dust3r_sfm.alignment import align
from dust3r_sfm.colmap.model import reconstruction_from_scene
from dust3r_sfm.evaluation.poses import evaluate_poses
from dust3r_sfm.geometry.focal import weiszfeld_focal
from dust3r_sfm.geometry.nearest import mutual_nearest
from dust3r_sfm.options import AlignOptions
from dust3r_sfm.predictors.store import PredictionStore
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.types import ImageSet, Tracks

HEIGHT, WIDTH = 384, 512
NO_TRACKS = Tracks(
    xyz=np.empty((0, 3)),
    rgb=np.empty((0, 3), np.uint8),
    track_of=np.empty(0, np.int64),
    image_of=np.empty(0, np.int64),
    xy=np.empty((0, 2)),
)


def focal(num_maps: int = 12, seed: int = 0) -> dict[str, Any]:
    """Weiszfeld's focal length of noisy pointmaps: ours against all pixels, and against the reference's."""
    rng = np.random.default_rng(seed)
    maps = [_pointmap(rng) for _ in range(num_maps)]
    seconds, found = _timed(lambda points: weiszfeld_focal(points), maps, 5)
    full_seconds, full = _timed(lambda points: weiszfeld_focal(points, stride=1, iterations=100), maps, 2)
    row = {
        "maps": num_maps,
        "milliseconds": 1e3 * seconds,
        "milliseconds_all_pixels": 1e3 * full_seconds,
        "times_faster": full_seconds / seconds,
        "largest_difference_percent": 100 * float(np.abs(found / full - 1).max()),
    }
    if reference.available():
        theirs, _ = _timed(reference.focal, maps, 2)
        row |= {"milliseconds_reference": 1e3 * theirs, "times_faster_than_reference": theirs / seconds}
    return row


def matching() -> Iterator[dict[str, Any]]:
    """Mutual nearest neighbours of the two pointmaps of a pair of 512x384 against two KD-trees of SciPy."""
    problem = problems.generator().make(N=4, H=HEIGHT, W=WIDTH, seed=5)
    for edge in ((1, 0), (2, 0)):
        index = problem["edges"].index(edge)
        points1, points2 = (problem[name][index].numpy().reshape(-1, 3) for name in ("X1", "X2"))
        seconds, ours = _seconds(mutual_nearest, points1, points2)
        theirs, wanted = _seconds(_two_trees, points1, points2)
        stride = np.arange(0, len(points1), 36)
        strided, _ = _seconds(mutual_nearest, points1, points2, stride, stride)
        yield {
            "edge": edge,
            "overlap": float(problem["ov"][edge]),
            "matches": len(ours[0]),
            "identical": set(zip(*ours, strict=True)) == set(zip(*wanted, strict=True)),
            "seconds": seconds,
            "seconds_two_trees": theirs,
            "times_faster": theirs / seconds,
            "seconds_of_5462_queries_a_side": strided,
        }


def photographs(runs: Path, quick: bool) -> Iterator[dict[str, Any]]:
    """Align the predictions of finished runs again; errors of the cameras beside those of the runs' own scenes."""
    for run in sorted(runs.iterdir())[: 1 if quick else None]:
        name = run.name.rpartition("-")[0]
        truth = DATA / name / "poses.json"
        if not (run / "scene.h5").is_file() or not truth.is_file():
            continue
        before = read_scene(run / "scene.h5")
        images = ImageSet(root=before.image_root, views=before.views)
        predictions = PredictionStore(run / "predictions.h5", before.names)
        started = time.process_time()
        scene = align(images, predictions, AlignOptions(), int(run.name.rpartition("-")[2]))
        row: dict[str, Any] = {"run": run.name, "edges": len(predictions), "seconds": time.process_time() - started}
        for label, each in (("before", before), ("now", scene)):
            errors = evaluate_poses(reconstruction_from_scene(each, NO_TRACKS), truth)
            row[label] = {
                "registered": errors.num_registered,
                "rra5": errors.rra[5],
                "rta5": errors.rta[5],
                "median_rotation": errors.median_rotation,
                "median_translation": errors.median_translation,
                "ate": errors.ate,
                "focal_error": errors.focal_error,
            }
        yield row


def _pointmap(rng: np.random.Generator) -> np.ndarray:
    """A pointmap whose rays are off by 1.5 pixels smoothly, 0.7 independently, and eight times that for 5 %."""

    def smooth() -> np.ndarray:
        return np.asarray(zoom(rng.standard_normal((6, 8)), 64, order=3)[:HEIGHT, :WIDTH])

    length = rng.uniform(0.7, 1.3) * WIDTH
    depth = 2 + 0.5 * smooth()
    noise = np.stack([1.5 * smooth() + 0.7 * rng.standard_normal((HEIGHT, WIDTH)) for _ in range(2)], -1)
    noise[rng.uniform(size=(HEIGHT, WIDTH)) < 0.05] *= 8
    rows, columns = np.indices((HEIGHT, WIDTH))
    xy = np.stack([columns + 0.5 - WIDTH / 2, rows + 0.5 - HEIGHT / 2], -1) + noise
    points = np.concatenate([xy / length, np.ones((HEIGHT, WIDTH, 1))], -1) * depth[..., None]
    return np.asarray(points, np.float32)


def _two_trees(points1: np.ndarray, points2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tree1, tree2 = KDTree(points1), KDTree(points2)
    nearest = tree2.query(points1)[1]
    mutual = tree1.query(points2)[1][nearest] == np.arange(len(points1))
    return np.flatnonzero(mutual), nearest[mutual]


def _timed(method: Callable[[Any], float], maps: list[np.ndarray], repeats: int) -> tuple[float, np.ndarray]:
    """Best CPU seconds per map, and the results."""
    best, values = np.inf, np.empty(0)
    for _ in range(repeats):
        started = time.process_time()
        values = np.array([method(points) for points in maps])
        best = min(best, (time.process_time() - started) / len(maps))
    return float(best), values


def _seconds(run: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    started = time.process_time()
    result = run(*arguments)
    return time.process_time() - started, result
