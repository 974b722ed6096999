"""The sides of the comparison with COLMAP: each makes a model of the same photographs, and says what it cost."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.common import Row
from dust3r_sfm.colmap.model import read_model
from dust3r_sfm.evaluation.poses import evaluate_poses
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import View

PLAIN = {"model": "SIMPLE_RADIAL", "principal_point": False}
"""COLMAP's own policy."""


def ours(images: Path, out: Path, seed: int) -> Row:
    """Run the whole command, and read what it chose."""
    shutil.rmtree(out, ignore_errors=True)
    row = _cli("reconstruct", str(images), str(out), "--seed", str(seed))
    if "error" in row:
        return row
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    row |= {"refinement": record.get("refinement"), "stages": record["summary"]["seconds"]}
    return row | {"policy": policy_of(out)}


def ours_plain(run: Path, out: Path, seed: int) -> Row:
    """Export a run once more under COLMAP's own policy; its keypoints are taken over."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copy(run / "features.h5", out)
    lens = ["--camera-model", str(PLAIN["model"]), "--principal-point", "keep", "--seed", str(seed)]
    return _cli("export", str(run), str(out), "--colmap", *lens)


def _cli(*arguments: str) -> Row:
    """Run our command; its seconds, and the last line of what it said where it failed."""
    before, started = os.times(), time.perf_counter()
    command = [sys.executable, "-m", "dust3r_sfm.cli", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    after, seconds = os.times(), time.perf_counter() - started
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    row: Row = {"seconds": seconds, "cpu_seconds": cpu}
    return row | {"error": run.stderr.strip().splitlines()[-1]} if run.returncode else row


def policy_of(run: Path) -> Row:
    """Which photographs of our run share a camera, its camera model, and whether principal points moved."""
    reconstruction = read_model(run)
    groups = [
        sorted(image.name for image in reconstruction.images.values() if image.camera_id == camera_id)
        for camera_id in sorted(reconstruction.cameras)
    ]
    offsets = [
        abs(camera.principal_point_x - camera.width / 2) + abs(camera.principal_point_y - camera.height / 2)
        for camera in reconstruction.cameras.values()
    ]
    models = sorted(camera.model.name for camera in reconstruction.cameras.values())
    return {
        "groups": with_left_out(groups, read_scene(run / "scene.h5").views),
        "model": models[-1],
        "principal_point": max(offsets) > 0.01,
    }


def with_left_out(groups: Iterable[Sequence[str]], views: Iterable[View]) -> list[list[str]]:
    """Groups of a model, and in them the photographs that it lacks.

    A photograph that could not be placed shares the camera of those with its size that our run gave the same camera
    group; where there is none of them, those that were left out share one.

    Args:
        groups: names of the photographs behind each camera of a model.
        views: all photographs of the run.

    Returns:
        Sorted names behind each camera.
    """
    joined = [list(group) for group in groups]
    shared = {view.name: (view.camera_group, view.size) for view in views}
    place = {shared[name]: index for index, group in enumerate(joined) for name in group}
    for name in sorted(shared.keys() - {name for group in joined for name in group}):
        index = place.setdefault(shared[name], len(joined))
        if index == len(joined):
            joined.append([])
        joined[index].append(name)
    return [sorted(group) for group in joined]


def cameras_of(policy: Row, images: Path) -> list[tuple[list[str], pycolmap.CameraMode]]:
    """Photographs to be read together, and whether they share a camera; those in no group have one of their own."""
    names = {path.relative_to(images).as_posix() for path in images.rglob("*") if path.is_file()}
    shared = [group for group in policy["groups"] if len(group) > 1]
    alone = sorted(names - {name for group in shared for name in group})
    together = [(group, pycolmap.CameraMode.SINGLE) for group in shared]
    return [*together, (alone, pycolmap.CameraMode.PER_IMAGE)] if alone else together


def sift_database(images: Path, database: Path, policy: Row, seed: int) -> Row:
    """Extract SIFT at the full stored size, match exhaustively and verify; the seconds of each."""
    new_database(database, seed)
    reader = pycolmap.ImageReaderOptions(camera_model=policy["model"])
    options = pycolmap.TwoViewGeometryOptions()
    options.ransac.random_seed = seed

    def extract() -> None:
        for names, mode in cameras_of(policy, images):
            pycolmap.extract_features(database, images, image_names=names, camera_mode=mode, reader_options=reader)

    return clocked(extract=extract, match=lambda: pycolmap.match_exhaustive(database, verification_options=options))


def new_database(path: Path, seed: int) -> None:
    """Make room for a database, and seed COLMAP."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    pycolmap.set_random_seed(seed)


def clocked(**steps: Callable[[], object]) -> Row:
    """Run steps in order; wall and CPU seconds of all and of each."""
    wall, cpu = {}, {}
    for name, step in steps.items():
        started, started_cpu = time.perf_counter(), time.process_time()
        step()
        wall[name], cpu[name] = time.perf_counter() - started, time.process_time() - started_cpu
    return {"seconds": sum(wall.values()), "cpu_seconds": sum(cpu.values()), "stages": wall, "cpu_stages": cpu}


def mapped(images: Path, database: Path, out: Path, *, seed: int, mapper: str, free: bool, before: Row) -> Row:
    """Map a database; the model with the most images is written to `out`.

    Args:
        images: the photographs.
        database: with verified matches.
        out: receives the model.
        seed: COLMAP's.
        mapper: global or incremental.
        free: whether principal points are refined.
        before: what making the database cost; it is counted.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    pycolmap.set_random_seed(seed)
    models: dict[int, pycolmap.Reconstruction] = {}

    def run() -> None:
        if mapper == "global":
            options = pycolmap.GlobalPipelineOptions(random_seed=seed)
            options.mapper.bundle_adjustment.refine_principal_point = free
            models.update(pycolmap.global_mapping(database, images, out, options))
        else:
            incremental = pycolmap.IncrementalPipelineOptions(random_seed=seed, ba_refine_principal_point=free)
            models.update(pycolmap.incremental_mapping(database, images, out, incremental))

    own = clocked(map=run)
    row: Row = {key: before[key] + own[key] for key in ("seconds", "cpu_seconds")}
    row |= {key: before[key] | own[key] for key in ("stages", "cpu_stages")}
    if not models:
        return row | {"error": "no model"}
    max(models.values(), key=lambda model: model.num_reg_images()).write(out)
    return row


def measured(model: Path, reference: Path) -> Row:
    """Pose errors of a model."""
    errors = evaluate_poses(model, reference)
    return {
        "registered": errors.num_registered,
        "images": errors.num_images,
        "auc1": round(errors.auc[1], 2),
        "auc5": round(errors.auc[5], 2),
        "ate": errors.ate,
        "focal_error": errors.focal_error,
        "points": errors.num_points,
        "track": errors.mean_track_length,
        "reprojection_px": errors.mean_reprojection_error,
    }
