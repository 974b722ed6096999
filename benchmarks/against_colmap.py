"""How precise and how fast is the model, beside COLMAP's own of the same photographs?

    python benchmarks/against_colmap.py [--sets fox_a sample_100] [--seeds 0 1 2] [--out FOLDER]

Runs `dust3r-sfm reconstruct` at its defaults, and pycolmap (SIFT, exhaustive matching, incremental and global mapper)
at the full stored resolution. pycolmap runs under the policy that our run chose (which photographs share a camera,
camera model, principal point free or fixed). The plain sides are both under COLMAP's own policy, SIMPLE_RADIAL with the
principal point fixed: what references that COLMAP made are like. Every seed is one result; the table shows medians, and
below it stands what they say: images, AUC@1 and time of each set against both mappers.

The sets are read from DUST3R_SFM_DATA (default ../shared/data): SET/images and SET/poses.json; sample_N is a set of N
rendered photographs. Results go to benchmarks/results/against_colmap.json after each run; runs in it are not repeated
(--again repeats them).
"""

import argparse
import datetime
import functools
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("DUST3R_SFM_DATA", ROOT.parent / "shared" / "data"))
SETS = ("strecha_fountain_p11", "strecha_herzjesu_p8", "fox_a", "sceaux_castle", "sacre_coeur")
SIDES = ("ours", "incremental", "global", "ours_plain", "incremental_plain")
MAPPERS = ("incremental", "global")
PLAIN = {"model": "SIMPLE_RADIAL", "principal_point": False}
AUC_MARGIN = 1.0
"""Points by which our AUC@1 may be lower on a set."""
TIMES = ((50, 3.0), (100, None), (sys.maxsize, 1.0))
"""Below so many photographs our time may be so many times pycolmap's; None: no rule."""
Row = dict[str, Any]


def photographs(name: str, out: Path) -> tuple[Path, Path]:
    """Photographs and reference of a set; sample_N is rendered."""
    if not name.startswith("sample_"):
        return DATA / name / "images", DATA / name / "poses.json"
    folder = out / name
    if not (folder / "truth" / "poses.json").is_file():
        count = name.removeprefix("sample_")
        command = [sys.executable, "-m", "dust3r_sfm.cli", "sample", str(folder), "--num-views", count]
        subprocess.run(command, check=True)
    return folder / "images", folder / "truth" / "poses.json"


def ours(images: Path, out: Path, seed: int) -> Row:
    """Run the whole command, and read what it chose."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "dust3r_sfm.cli", "reconstruct", str(images), str(out), "--seed", str(seed)]
    started, started_cpu = time.perf_counter(), _children_cpu()
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    row: Row = {"seconds": time.perf_counter() - started, "cpu_seconds": _children_cpu() - started_cpu}
    if run.returncode:
        return row | {"error": run.stderr.strip().splitlines()[-1]}
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return row | {"refinement": record.get("refinement"), "stages": record["summary"]["seconds"]}


def ours_plain(run: Path, out: Path, seed: int) -> Row:
    """Export a run once more under COLMAP's own policy; its keypoints are taken over."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copy(run / "features.h5", out)
    lens = ["--camera-model", PLAIN["model"], "--principal-point", "keep", "--seed", str(seed)]
    command = [sys.executable, "-m", "dust3r_sfm.cli", "export", str(run), str(out), "--colmap", *lens]
    started, started_cpu = time.perf_counter(), _children_cpu()
    export = subprocess.run(command, capture_output=True, text=True, check=False)
    row: Row = {"seconds": time.perf_counter() - started, "cpu_seconds": _children_cpu() - started_cpu}
    return row | {"error": export.stderr.strip().splitlines()[-1]} if export.returncode else row


def policy_of(model: Path) -> Row:
    """Which photographs share a camera in a model, its camera model, and whether principal points moved."""
    from dust3r_sfm.colmap.model import read_model

    reconstruction = read_model(model)
    groups = [
        sorted(image.name for image in reconstruction.images.values() if image.camera_id == camera_id)
        for camera_id in sorted(reconstruction.cameras)
    ]
    offsets = [
        abs(camera.principal_point_x - camera.width / 2) + abs(camera.principal_point_y - camera.height / 2)
        for camera in reconstruction.cameras.values()
    ]
    models = sorted(camera.model.name for camera in reconstruction.cameras.values())
    return {"groups": groups, "model": models[-1], "principal_point": max(offsets) > 0.01}


def colmap_database(images: Path, database: Path, policy: Row, seed: int) -> Row:
    """Extract and match; seconds that it took."""
    from dust3r_sfm.system._pycolmap import pycolmap

    database.parent.mkdir(parents=True, exist_ok=True)
    database.unlink(missing_ok=True)
    pycolmap.set_random_seed(seed)
    started, started_cpu = time.perf_counter(), time.process_time()
    names = sorted(path.relative_to(images).as_posix() for path in images.rglob("*") if path.is_file())
    left_out = sorted(set(names) - {name for group in policy["groups"] for name in group})
    shared = [(group, pycolmap.CameraMode.SINGLE) for group in policy["groups"] if len(group) > 1]
    alone = [*(group[0] for group in policy["groups"] if len(group) == 1), *left_out]
    reader = pycolmap.ImageReaderOptions(camera_model=policy["model"])
    for group, mode in [*shared, (alone, pycolmap.CameraMode.PER_IMAGE)]:
        if group:
            pycolmap.extract_features(database, images, image_names=group, camera_mode=mode, reader_options=reader)
    extracted, extracted_cpu = time.perf_counter(), time.process_time()
    options = pycolmap.TwoViewGeometryOptions()
    options.ransac.random_seed = seed
    pycolmap.match_exhaustive(database, verification_options=options)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - started_cpu,
        "stages": {"extract": extracted - started, "match": time.perf_counter() - extracted},
        "cpu_stages": {"extract": extracted_cpu - started_cpu, "match": time.process_time() - extracted_cpu},
    }


def colmap_model(images: Path, database: Path, out: Path, seed: int, mapper: str, free: bool) -> Row:
    """Map a database; the model with the most images is written to `out`."""
    from dust3r_sfm.system._pycolmap import pycolmap

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    pycolmap.set_random_seed(seed)
    started, started_cpu = time.perf_counter(), time.process_time()
    if mapper == "global":
        options = pycolmap.GlobalPipelineOptions(random_seed=seed)
        options.mapper.bundle_adjustment.refine_principal_point = free
        found = pycolmap.global_mapping(database, images, out, options)
    else:
        options = pycolmap.IncrementalPipelineOptions(random_seed=seed, ba_refine_principal_point=free)
        found = pycolmap.incremental_mapping(database, images, out, options)
    row: Row = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - started_cpu}
    if not found:
        return row | {"error": "no model"}
    best = max(found.values(), key=lambda model: model.num_reg_images())
    best.write(out)
    return row


def mapped(images: Path, database: Path, out: Path, seed: int, mapper: str, free: bool, before: Row) -> Row:
    """Map a database, and count the seconds that extraction and matching took before."""
    row = colmap_model(images, database, out, seed, mapper, free)
    return row | {
        "seconds": row["seconds"] + before["seconds"],
        "cpu_seconds": row["cpu_seconds"] + before["cpu_seconds"],
        "stages": before["stages"] | {"map": row["seconds"]},
        "cpu_stages": before["cpu_stages"] | {"map": row["cpu_seconds"]},
    }


def measured(model: Path, reference: Path) -> Row:
    """Pose errors of a model."""
    from dust3r_sfm.evaluation.poses import evaluate_poses

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


def run_set(
    name: str,
    seeds: list[int],
    sides: list[str],
    out: Path,
    done: dict[tuple[str, str, int], Row],
    save: Callable[[], None],
) -> None:
    """Run what is missing of a set, and save after each run."""
    images, reference = photographs(name, out)

    def add(side: str, seed: int, make: Callable[[], Row], model: Path) -> None:
        if (name, side, seed) in done or side not in sides:
            return
        row: Row = {"set": name, "side": side, "seed": seed, "commit": _commit()} | make()
        if "error" not in row:
            row |= measured(model, reference)
        done[name, side, seed] = row
        print(json.dumps({key: value for key, value in row.items() if key != "policy"}), flush=True)
        save()

    for seed in seeds:
        run = out / f"{name}-ours-{seed}"
        add("ours", seed, functools.partial(_with_policy, images, run, seed), run)
    policy = next((row["policy"] for row in done.values() if row["set"] == name and "policy" in row), None)
    if policy is None:
        return
    for seed in seeds:
        run, folder = out / f"{name}-ours-{seed}", out / f"{name}-ours_plain-{seed}"
        if (run / "features.h5").is_file():
            add("ours_plain", seed, functools.partial(ours_plain, run, folder, seed), folder)
    for side in ("incremental", "global", "incremental_plain"):
        if side not in sides or all((name, side, seed) in done for seed in seeds):
            continue
        chosen = policy | PLAIN if side.endswith("plain") else policy
        database = out / f"{name}-{chosen['model']}.db"
        timing = database.with_suffix(".json")
        if not timing.is_file():
            timing.write_text(json.dumps(colmap_database(images, database, chosen, 0)))
        before = json.loads(timing.read_text())
        for seed in seeds:
            folder = out / f"{name}-{side}-{seed}"
            free, mapper = chosen["principal_point"], side.split("_")[0]
            add(side, seed, functools.partial(mapped, images, database, folder, seed, mapper, free, before), folder)


def _with_policy(images: Path, out: Path, seed: int) -> Row:
    row = ours(images, out, seed)
    return row if "error" in row else row | {"policy": policy_of(out)}


def _children_cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system


def medians(rows: list[Row], name: str, side: str) -> Row | None:
    """Medians over the seeds of one side of a set; None where it gave no model."""
    good = [row for row in rows if (row["set"], row["side"]) == (name, side) and "error" not in row]
    if not good:
        return None
    keys = ("registered", "images", "auc1", "auc5", "ate", "seconds", "cpu_seconds")
    return {key: statistics.median(row[key] or 0.0 for row in good) for key in keys}


def table(rows: list[Row]) -> str:
    """Medians over seeds, a line per set and side."""
    lines = [
        "| set | side | registered | AUC@1 | AUC@5 | ATE | seconds | CPU seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["set"] for row in rows):
        for side in SIDES:
            failed = [row for row in rows if (row["set"], row["side"]) == (name, side) and "error" in row]
            if (middle := medians(rows, name, side)) is None:
                lines += [f"| {name} | {side} | {row['error']} | | | | | |" for row in failed[:1]]
                continue
            lines.append(
                f"| {name} | {side} | {middle['registered']:.0f}/{middle['images']:.0f} | {middle['auc1']:.1f} | "
                f"{middle['auc5']:.1f} | {middle['ate']:.5f} | {middle['seconds']:.0f} | {middle['cpu_seconds']:.0f} |"
            )
    return "\n".join(lines)


def verdicts(rows: list[Row]) -> str:
    """What the medians say of each rule: images, AUC@1 and time of each set, AUC@1 in the mean of the photographed."""
    lines = []
    names = list(dict.fromkeys(row["set"] for row in rows))
    for mapper in MAPPERS:
        gains = []
        for name in names:
            ours, theirs = medians(rows, name, "ours"), medians(rows, name, mapper)
            if ours is None or (theirs is None and not any((r["set"], r["side"]) == (name, mapper) for r in rows)):
                continue
            images, auc = (theirs["registered"], theirs["auc1"]) if theirs else (0, 0.0)
            passed = ours["registered"] >= images
            lines.append(_line(passed, f"{name}: images {ours['registered']:.0f}, {mapper} {images:.0f}"))
            passed = ours["auc1"] >= auc - AUC_MARGIN
            lines.append(_line(passed, f"{name}: AUC@1 {ours['auc1']:.1f}, {mapper} {auc:.1f}"))
            if not name.startswith("sample_"):
                gains.append(ours["auc1"] - auc)
            if mapper == "incremental" and theirs:
                lines += _time_verdict(name, ours, theirs)
        if gains:
            mean = statistics.mean(gains)
            lines.append(_line(mean > 0, f"mean of {len(gains)} sets: AUC@1 {mean:+.2f} against {mapper}"))
    return "\n".join(lines)


def _time_verdict(name: str, ours: Row, theirs: Row) -> list[str]:
    limit = next(limit for below, limit in TIMES if ours["images"] < below)
    wall, cpu = (ours[key] / theirs[key] for key in ("seconds", "cpu_seconds"))
    words = f"{name}: time {wall:.2f} × pycolmap's ({cpu:.2f} × in CPU seconds), {ours['images']:.0f} photographs"
    return [f"      {words}"] if limit is None else [_line(wall <= limit, f"{words}, at most {limit:g}")]


def _line(passed: bool, words: str) -> str:
    return f"{'PASS' if passed else 'FAIL'}  {words}"


@functools.cache
def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def main() -> None:
    """Run what is missing, print the table and the verdicts, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--out", type=Path, help="keep the models here, and go on from there (default: temporary)")
    parser.add_argument("--result", type=Path, default=ROOT / "benchmarks" / "results" / "against_colmap.json")
    parser.add_argument("--again", action="store_true", help="repeat runs that the result holds")
    arguments = parser.parse_args()
    from dust3r_sfm.system._pycolmap import pycolmap

    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.ERROR)
    rows: list[Row] = []
    if arguments.result.is_file():
        rows = json.loads(arguments.result.read_text(encoding="utf-8"))["rows"]
    if arguments.again:
        repeated = set(itertools.product(arguments.sets, arguments.sides, arguments.seeds))
        rows = [row for row in rows if (row["set"], row["side"], row["seed"]) not in repeated]
    done = {(row["set"], row["side"], row["seed"]): row for row in rows}

    def save() -> None:
        about = {"date": datetime.date.today().isoformat(), "commit": _commit()}
        about |= {"machine": platform.machine(), "cores": os.cpu_count(), "command": " ".join(sys.argv)}
        arguments.result.parent.mkdir(exist_ok=True)
        arguments.result.write_text(json.dumps({"about": about, "rows": list(done.values())}, indent=1) + "\n")

    with tempfile.TemporaryDirectory() as temporary:
        for name in arguments.sets:
            run_set(name, arguments.seeds, arguments.sides, arguments.out or Path(temporary), done, save)
    print(table(list(done.values())))
    print(verdicts(list(done.values())))


if __name__ == "__main__":
    main()
