"""How good is the model of real photographs? Reconstructs every set with known cameras and prints the errors.

    python benchmarks/photographs.py [--sets fox_a sceaux_castle] [--seeds 0 1 2] [--out FOLDER]

The sets are read from DUST3R_SFM_DATA (default ../shared/data): SET/images and SET/poses.json. The result is written to
benchmarks/results/photographs.json with date, commit and hardware.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("DUST3R_SFM_DATA", ROOT.parent / "shared" / "data"))
SETS = ("fox_a", "sceaux_castle", "strecha_fountain_p11", "strecha_herzjesu_p8", "sacre_coeur")


def measure(name: str, seed: int, out: Path) -> dict[str, object]:
    """Reconstruct one set in a process of its own, so that its peak memory is its own."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "dust3r_sfm.cli", "reconstruct", str(DATA / name / "images"), str(out)]
    started = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run([*command, "--seed", str(seed)], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    row: dict[str, object] = {"set": name, "seed": seed, "wall_s": round(time.perf_counter() - started, 1)}
    row["cpu_s"] = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)
    row["peak_mib"] = after.ru_maxrss // 1024  # the largest process so far: run the heaviest set last to compare
    if run.returncode:
        return row | {"error": run.stderr.strip().splitlines()[-1]}
    from dust3r_sfm.evaluation.poses import evaluate_poses

    errors = evaluate_poses(out, DATA / name / "poses.json")
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    row |= {
        "registered": f"{errors.num_registered}/{errors.num_images}",
        "rra5": errors.rra[5],
        "rta5": errors.rta[5],
        "auc1": errors.auc[1],
        "auc5": errors.auc[5],
        "ate": errors.ate,
        "focal_error": errors.focal_error,
        "points": record["summary"]["num_points"],
        "track": round(record["summary"]["mean_track_length"], 2),
        "reprojection_px": round(record["summary"]["mean_reprojection_error"], 2),
        "refinement": record["summary"]["refinement"],
        "predictions_mb": (out / "predictions.h5").stat().st_size // 10**6,
        "seconds": record["summary"]["seconds"],
    }
    return row


def main() -> None:
    """Run every set and seed, print a line each, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--out", type=Path, help="keep the models here (default: a temporary folder)")
    parser.add_argument("--result", type=Path, default=ROOT / "benchmarks" / "results" / "photographs.json")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in arguments.seeds:
            for name in arguments.sets:
                rows.append(measure(name, seed, (arguments.out or Path(temporary)) / f"{name}-{seed}"))
                print(json.dumps(rows[-1]), flush=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    about = {"date": datetime.date.today().isoformat(), "commit": commit.stdout.strip()}
    about |= {"machine": platform.machine(), "cores": os.cpu_count(), "command": " ".join(sys.argv)}
    arguments.result.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
