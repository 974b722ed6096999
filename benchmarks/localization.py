"""How well are photographs localized? Ours beside an hloc-like baseline of pycolmap's parts, on the same images.

    python benchmarks/localization.py [--num-loc 20] [--fox FOLDER]

7-Scenes red kitchen from DUST3R_SFM_DATA (default ../shared/data): 50 images with depth and poses, 25 queries. The
baseline is COLMAP's SIFT at its default options, mutual nearest neighbours with the ratio test at 0.8, and pycolmap's
PnP with hloc's 12 pixels, on the same retrieved images and depth. Photographs of other places must be refused. With
--fox also fox_a: every other photograph is reconstructed into FOLDER (unless it is there), the others are localized.
Written to benchmarks/results/localization.json with date, commit and hardware.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from dust3r_sfm.colmap.model import read_model
from dust3r_sfm.evaluation.localization import LocalizationErrors, compare_poses
from dust3r_sfm.geometry.procrustes import similarity
from dust3r_sfm.geometry.transforms import centres
from dust3r_sfm.images.known_cameras import read_intrinsics
from dust3r_sfm.images.known_poses import read_poses
from dust3r_sfm.images.load import load_original
from dust3r_sfm.images.read import read_images
from dust3r_sfm.localization.correspond import Pair
from dust3r_sfm.localization.depths import depth_files
from dust3r_sfm.localization.lift import DepthLift
from dust3r_sfm.localization.localize import localize_queries
from dust3r_sfm.localization.open_map import LocalizationMap, make_map, open_map
from dust3r_sfm.localization.queries import Query
from dust3r_sfm.localization.reference import Reference, model_of_poses, read_reference
from dust3r_sfm.options import ImageOptions, LocalizeOptions, PredictOptions
from dust3r_sfm.predictors.predictor import load_predictor
from dust3r_sfm.types import Localization, Matches, View

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("DUST3R_SFM_DATA", ROOT.parent / "shared" / "data"))
ELSEWHERE = ("fox_a", "sceaux_castle", "strecha_fountain_p11")
RATIO = 0.8

Row = tuple[str, dict[str, object]]


class ColmapSift:
    """The baseline's matcher: COLMAP's SIFT, mutual nearest neighbours, ratio test on angles as in COLMAP."""

    def __init__(self, reference: Reference) -> None:
        from dust3r_sfm._pycolmap import pycolmap

        options = pycolmap.FeatureExtractionOptions()
        options.use_gpu, options.num_threads = False, 1
        self._extractor = pycolmap.FeatureExtractor.create(options)
        self._reference = reference
        self._found: dict[Path, tuple[np.ndarray, np.ndarray]] = {}

    def match(self, queries: Sequence[View], pairs: Sequence[Pair]) -> list[Matches]:
        """See `correspond.Matcher`."""
        return [self._match(queries[query], self._reference.views[image], query, image) for query, image in pairs]

    def _match(self, view: View, other: View, query: int, image: int) -> Matches:
        (xy1, descriptors1), (xy2, descriptors2) = self._keypoints(view), self._keypoints(other)
        angles = np.arccos(np.clip(descriptors1 @ descriptors2.T, -1, 1))
        nearest = angles.argmin(axis=1)
        rows = np.arange(len(nearest))
        mutual = angles.argmin(axis=0)[nearest] == rows
        first = angles[rows, nearest]
        angles[rows, nearest] = np.inf
        kept = mutual & (first < RATIO * angles.min(axis=1))
        return Matches(
            image1=query, image2=image, xy1=xy1[kept], xy2=xy2[nearest[kept]], confidence=np.ones(int(kept.sum()))
        )

    def _keypoints(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        if view.path not in self._found:
            import cv2

            from dust3r_sfm._pycolmap import pycolmap

            grey = cv2.cvtColor(load_original(view), cv2.COLOR_RGB2GRAY)
            keypoints, descriptors = self._extractor.extract(pycolmap.Bitmap.from_array(grey))
            xy = np.array([[keypoint.x, keypoint.y] for keypoint in keypoints], np.float64)
            values = np.asarray(descriptors.data, np.float32)
            self._found[view.path] = xy, values / np.linalg.norm(values, axis=1, keepdims=True)
        return self._found[view.path]


def kitchen(num_loc: int) -> Iterator[Row]:
    """Localize the kitchen's queries in every way; photographs of other places have no business there."""
    root = DATA / "7scenes_redkitchen"
    names, query_names = ((root / f"{kind}.txt").read_text(encoding="utf-8").split() for kind in ("mapping", "query"))
    poses, _ = read_poses(root / "poses.json", names)
    truth, _ = read_poses(root / "poses.json", query_names)
    images = read_images(root, ImageOptions(), names=names)
    cameras, _ = read_intrinsics(str(root / "poses.json"), images.views)
    reference = read_reference(model_of_poses(cameras, poses), root)
    predictor = load_predictor(PredictOptions(num_workers=1), 0)
    lift = DepthLift(reference, depth_files(reference, root / "depth_color", 0.001))
    ours = make_map(reference, lift, predictor, LocalizeOptions(num_loc=num_loc), PredictOptions(num_workers=1))
    views = read_images(root, ImageOptions(), names=query_names).views
    known, _ = read_intrinsics(str(root / "poses.json"), views)
    with_camera = [Query(name=view.name, view=view, camera=known[view.name]) for view in views]
    without = [Query(name=view.name, view=view) for view in views]
    baseline = replace(ours, matcher=ColmapSift(reference), options=replace(ours.options, ransac_thresh=12.0))
    yield "kitchen, known intrinsics", _row(ours, with_camera, truth)
    yield "kitchen, baseline, known intrinsics", _row(baseline, with_camera, truth)
    yield "kitchen, unknown focal", _row(ours, without, truth)
    yield "kitchen, baseline, unknown focal", _row(baseline, without, truth)
    elsewhere = [view for name in ELSEWHERE for view in read_images(DATA / name / "images", ImageOptions()).views]
    refused = localize_queries(ours, [Query(name=str(view.path), view=view) for view in elsewhere])
    yield (
        "photographs of other places",
        {
            "queries": len(refused),
            "localized": sum(found.cam_from_world is not None for found in refused),
            "highest_confidence": max(found.confidence for found in refused),
        },
    )


def fox(folder: Path, num_loc: int) -> Iterator[Row]:
    """Reconstruct every other photograph of fox_a and localize the others; errors in shares of the cameras' extent."""
    root = DATA / "fox_a"
    names = sorted(path.name for path in (root / "images").iterdir())
    mapping, out = folder / "mapping", folder / "out"
    mapping.mkdir(parents=True, exist_ok=True)
    for name in names[::2]:
        if not (mapping / name).exists():
            (mapping / name).symlink_to((root / "images" / name).resolve())
    cameras = str(root / "poses.json")
    if not (out / "sparse").is_dir():
        command = ["dust3r-sfm", "reconstruct", str(mapping), str(out), "--intrinsics", cameras]
        subprocess.run(command, check=True)
    opened = open_map(out, LocalizeOptions(num_loc=num_loc), PredictOptions(num_workers=1))
    truth, _ = read_poses(root / "poses.json", names)
    model = {image.name: np.asarray(image.cam_from_world().matrix()) for image in read_model(out).images.values()}
    placed = [name for name in names[::2] if name in model]
    true_centres = centres(np.stack([truth[name] for name in placed]))
    truth_from_map = similarity(centres(np.stack([model[name] for name in placed])), true_centres)
    scale = float(np.cbrt(np.linalg.det(truth_from_map[:3, :3])))
    everywhere = centres(np.stack(list(truth.values())))
    extent = float(np.linalg.norm(everywhere[:, None] - everywhere[None], axis=-1).max())
    views = read_images(root / "images", ImageOptions(), names=names[1::2]).views
    known, _ = read_intrinsics(cameras, views)
    queries = [Query(name=view.name, view=view, camera=known[view.name]) for view in views]
    started = time.process_time()
    found = localize_queries(opened, queries)
    seconds = (time.process_time() - started) / len(queries)
    # Both worlds are scaled so that the extent of the cameras is 1.
    moved = {
        each.name: _moved(each.cam_from_world, truth_from_map, scale, extent)
        for each in found
        if each.cam_from_world is not None
    }
    target = {name: np.column_stack([truth[name][:, :3], truth[name][:, 3] / extent]) for name in names[1::2]}
    yield "fox_a, in extents", _figures(compare_poses(moved, target), seconds)


def _moved(pose: np.ndarray, truth_from_map: np.ndarray, scale: float, extent: float) -> np.ndarray:
    rotation = pose[:, :3] @ (truth_from_map[:3, :3] / scale).T
    centre = truth_from_map[:3, :3] @ centres(pose) + truth_from_map[:3, 3]
    return np.column_stack([rotation, -rotation @ centre / extent])


def _row(opened: LocalizationMap, queries: Sequence[Query], truth: Mapping[str, np.ndarray]) -> dict[str, object]:
    started = time.process_time()
    found: list[Localization] = localize_queries(opened, queries)
    seconds = (time.process_time() - started) / len(queries)
    poses = {each.name: each.cam_from_world for each in found if each.cam_from_world is not None}
    return _figures(compare_poses(poses, truth), seconds)


def _figures(errors: LocalizationErrors, seconds: float) -> dict[str, object]:
    figures: dict[str, Any] = {name: round(float(value), 5) for name, value in errors.rows().items()}
    return figures | {"cpu_s_per_query": round(seconds, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-loc", type=int, default=LocalizeOptions().num_loc)
    parser.add_argument("--fox", type=Path)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "localization.json")
    arguments = parser.parse_args()
    rows = {}
    for name, row in chain(kitchen(arguments.num_loc), fox(arguments.fox, arguments.num_loc) if arguments.fox else ()):
        print(name, *(f"    {key:<28}{value}" for key, value in row.items()), sep="\n", flush=True)
        rows[name] = row
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    record = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit.strip(),
        "hardware": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "num_loc": arguments.num_loc,
        "rows": rows,
    }
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
