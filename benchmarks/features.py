"""What do the matchers of local features find, and what do they cost? All pairs of some photographs with known cameras.

    OMP_NUM_THREADS=1 python benchmarks/features.py [--set sacre_coeur] [--every 2] [--matchers sift ...]

Photographs are read from DUST3R_SFM_DATA (default ../shared/data). Of each matcher: pairs whose rotation is within 5°,
and whose direction of the baseline is within 10° as well, by the essential matrix with known intrinsics (pycolmap's
RANSAC); matches within 1.5 pixels of the epipolar line of the reference, in the median over the pairs; CPU seconds of
one thread for a photograph and for a pair. Written to benchmarks/results/features.json.
"""

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import DATA, RESULTS, Row, about, write_record
from dust3r_sfm.features.matcher import list_matchers, load_matcher
from dust3r_sfm.geometry.transforms import compose, invert, rotation_angle
from dust3r_sfm.images.known_cameras import colmap_camera, read_intrinsics
from dust3r_sfm.images.known_poses import read_poses
from dust3r_sfm.images.read import read_images
from dust3r_sfm.options import ImageOptions
from dust3r_sfm.system._pycolmap import pycolmap

RIGHT_RAW_PX = 1.5
MAX_ERROR_RAW_PX = 2.0


def measured(name: str, root: Path, every: int) -> Row:
    """All figures of one matcher."""
    views = read_images(root / "images", ImageOptions()).views[::every]
    poses, _ = read_poses(root / "poses.json", [view.name for view in views])
    cameras = read_intrinsics(str(root / "poses.json"), views)[0]
    matcher = load_matcher(name)
    matcher.check()
    started = time.process_time()
    features = [matcher.extract(view) for view in views]
    per_image = (time.process_time() - started) / len(views)
    pairs = list(itertools.combinations(range(len(views)), 2))
    started = time.process_time()
    matches = {(i, j): matcher.match(features[i], features[j], views[i], views[j])[0] for i, j in pairs}
    per_pair = (time.process_time() - started) / len(pairs)
    turned, also_moved, right, found = 0, 0, [], []
    for (i, j), rows in matches.items():
        one, other = (colmap_camera(cameras[views[k].name]) for k in (i, j))
        xy1, xy2 = features[i].xy[rows[:, 0]], features[j].xy[rows[:, 1]]
        truth = compose(poses[views[j].name], invert(poses[views[i].name]))
        rays1, rays2 = (np.asarray(camera.cam_from_img(xy)) for camera, xy in ((one, xy1), (other, xy2)))
        right.append(int((epipolar_errors(rays1, rays2, truth) * one.mean_focal_length() < RIGHT_RAW_PX).sum()))
        found.append(len(rows))
        options = pycolmap.TwoViewGeometryOptions()
        options.ransac.max_error, options.ransac.random_seed = MAX_ERROR_RAW_PX, 0
        same = np.column_stack([np.arange(len(rows))] * 2).astype(np.uint32)
        geometry = pycolmap.estimate_calibrated_two_view_geometry(one, xy1, other, xy2, same, options)
        if len(rows) < 8 or not pycolmap.estimate_two_view_geometry_pose(one, xy1, other, xy2, geometry):
            continue
        pose = np.asarray(geometry.cam2_from_cam1.matrix())
        turn = rotation_angle(pose[:, :3] @ truth[:, :3].T)
        cosine = pose[:, 3] @ truth[:, 3] / max(np.linalg.norm(pose[:, 3]) * np.linalg.norm(truth[:, 3]), 1e-12)
        turned += bool(turn < 5)
        also_moved += bool(turn < 5 and np.degrees(np.arccos(np.clip(cosine, -1, 1))) < 10)
    return {
        "matcher": name,
        "photographs": len(views),
        "pairs": len(pairs),
        "within_5deg": turned,
        "also_10deg_of_baseline": also_moved,
        "right_matches": float(np.median(right)),
        "matches": float(np.median(found)),
        "cpu_s_per_image": round(per_image, 2),
        "cpu_s_per_pair": round(per_pair, 2),
    }


def epipolar_errors(rays1: np.ndarray, rays2: np.ndarray, cam2_from_cam1: np.ndarray) -> np.ndarray:
    """Sampson errors of matches, at z = 1."""
    x, y, z = cam2_from_cam1[:, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ cam2_from_cam1[:, :3]
    one, other = (np.column_stack([rays, np.ones(len(rays))]) for rays in (rays1, rays2))
    line2, line1 = one @ essential.T, other @ essential
    square = (line2[:, :2] ** 2).sum(axis=1) + (line1[:, :2] ** 2).sum(axis=1)
    return np.asarray(np.abs((other * line2).sum(axis=1)) / np.sqrt(np.maximum(square, 1e-20)))


def main() -> None:
    """Measure, print a row each, write the JSON."""
    there = [matcher.name for matcher in list_matchers() if not matcher.missing]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="sacre_coeur")
    parser.add_argument("--every", type=int, default=2)
    parser.add_argument("--matchers", nargs="+", choices=there, default=there)
    parser.add_argument("--results", type=Path, default=RESULTS / "features.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    for name in arguments.matchers:
        rows.append(measured(name, DATA / arguments.set, arguments.every))
        print(*(f"{key} {value}" for key, value in rows[-1].items()), sep="  ", flush=True)
        write_record(arguments.results, rows, about(set=arguments.set))


if __name__ == "__main__":
    main()
