"""How precise do rough cameras become, beside the run from photographs alone, and what does it cost?

    python benchmarks/cameras/refine.py [--sets fox_a] [--rough 1 3 5] [--photographs] [--out DIR]

Turns every camera of SET/poses.json about a random axis by 1, 3 or 5 degrees and moves it in a random direction by 2,
5 or 10 % of the largest distance between two cameras (seed 0; lenses stay), runs `dust3r-sfm refine`, and compares the
model with the true cameras. `rough` is the angle, `rough_auc5` what is given. `turned` and `scale` are the similarity
from the model to the given cameras (`correction.frame`, places and turns), `turned_truth` from the model to the true
ones: how far the frame of rough cameras itself is off. `cpu` is user and system seconds of the command on one thread.
With --photographs the row `rough: null` is `dust3r-sfm reconstruct` of the same photographs in the same run. Results go
to benchmarks/results/refine.json after each run.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import DATA, RESULTS, Row, about, read_rows, stamped, write_record
from dust3r_sfm.colmap.model import read_model
from dust3r_sfm.correction.frame import given_from_found
from dust3r_sfm.evaluation.poses import evaluate_poses
from dust3r_sfm.geometry.transforms import centres, rotation_angle, rotation_exp, rotation_log
from dust3r_sfm.images.known_poses import read_poses
from dust3r_sfm.system.files import write_json

SETS = ("strecha_fountain_p11", "strecha_herzjesu_p8", "fox_a", "sceaux_castle", "sacre_coeur")
SHARES = {1.0: 0.02, 3.0: 0.05, 5.0: 0.10}
"""Share of the scene that goes with each angle in degrees."""

Poses = dict[str, np.ndarray]


def true_poses(path: Path) -> tuple[Poses, dict[str, Any]]:
    """Poses of a poses.json by name, and its entries."""
    content = json.loads(path.read_text(encoding="utf-8"))
    entries = {name: entry for name, entry in content.get("images", content).items() if "tvec" in entry}
    return read_poses(path, sorted(entries))[0], entries


def roughened(poses: Poses, degrees: float, share: float, seed: int) -> Poses:
    """Turn each camera by an angle and move it by a share of the largest distance between two."""
    rng = np.random.default_rng(seed)
    every = np.array(list(poses.values()))
    places = centres(every)
    extent = np.linalg.norm(places[:, None] - places[None], axis=-1).max()
    axes, steps = (_directions(rng, len(every)) for _ in range(2))
    rotation = rotation_exp(np.radians(degrees) * axes) @ every[:, :, :3]
    moved = places + share * extent * steps
    return dict(zip(poses, np.concatenate([rotation, -rotation @ moved[:, :, None]], axis=2), strict=True))


def _directions(rng: np.random.Generator, count: int) -> np.ndarray:
    vectors: np.ndarray = rng.normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_given(path: Path, poses: Poses, entries: dict[str, Any]) -> None:
    """Write a poses.json of other poses with the same lenses."""
    written = {}
    for name, pose in poses.items():
        vector = rotation_log(pose[:, :3])
        angle = float(np.linalg.norm(vector))
        axis = vector / angle if angle else vector
        quaternion = [np.cos(angle / 2), *(np.sin(angle / 2) * axis)]
        written[name] = entries[name] | {"qvec_cam_from_world": quaternion, "tvec": pose[:, 3].tolist()}
    write_json(path, written)


def frame(out: Path, poses: Poses) -> tuple[float, float]:
    """Angle in degrees and scale of the similarity from a model to given poses."""
    found = {image.name: np.asarray(image.cam_from_world().matrix()) for image in read_model(out).images.values()}
    names = sorted(found.keys() & poses.keys())
    fit, _ = given_from_found(np.array([found[name] for name in names]), np.array([poses[name] for name in names]))
    scale = float(np.cbrt(np.linalg.det(fit[:3, :3])))
    return float(rotation_angle(fit[:3, :3] / scale)), scale


def timed(*arguments: Path | str) -> float:
    """CPU seconds of a command of ours on one thread."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "dust3r_sfm.cli", *map(str, arguments)]
    subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(out: Path, truth: Path, cpu: float) -> Row:
    """What is said of every run."""
    errors = evaluate_poses(out, truth)
    return {
        "registered": f"{errors.num_registered}/{errors.num_images}",
        "auc1": round(errors.auc[1], 2),
        "auc5": round(errors.auc[5], 2),
        "ate": None if errors.ate is None else round(errors.ate, 6),
        "focal_error": None if errors.focal_error is None else round(errors.focal_error, 5),
        "points": errors.num_points,
        "cpu": round(cpu, 1),
    }


def refined(name: str, degrees: float, folder: Path) -> Row:
    """One run from rough cameras."""
    photos, out = DATA / name, folder / f"{name}-{degrees:.0f}"
    truth, entries = true_poses(photos / "poses.json")
    given = roughened(truth, degrees, SHARES[degrees], seed=0)
    write_given(folder / f"{name}-{degrees:.0f}.json", given, entries)
    cpu = timed("refine", folder / f"{name}-{degrees:.0f}.json", photos / "images", out, "--overwrite")
    (turned, scale), (turned_truth, _) = frame(out, given), frame(out, truth)
    return {
        "set": name,
        "rough": degrees,
        **measured(out, photos / "poses.json", cpu),
        "turned": round(turned, 4),
        "scale": round(scale, 5),
        "turned_truth": round(turned_truth, 3),
    }


def from_photographs(name: str, folder: Path) -> Row:
    """The run without cameras."""
    photos, out = DATA / name, folder / f"{name}-photographs"
    cpu = timed("reconstruct", photos / "images", out, "--overwrite")
    return {"set": name, "rough": None, **measured(out, photos / "poses.json", cpu)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the record after each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--rough", nargs="+", type=float, default=tuple(SHARES), choices=tuple(SHARES))
    parser.add_argument("--photographs", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    run = about()
    run["command"] = run["command"].replace("benchmarks/", "benchmarks/cameras/")
    path = RESULTS / "refine.json"
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in given.sets:
            for degrees in (*([None] if given.photographs else []), *given.rough):
                row = from_photographs(name, folder) if degrees is None else refined(name, degrees, folder)
                print(row, flush=True)
                others = [old for old in read_rows(path) if (old["set"], old["rough"]) != (name, degrees)]
                write_record(path, [*others, stamped(row)], run)


if __name__ == "__main__":
    main()
