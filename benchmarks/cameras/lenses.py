"""What becomes of photographs through lenses that nobody calibrated, beside the run that is told the lens?

    python benchmarks/cameras/lenses.py [--cases room action] [--out DIR]

Renders each case without EXIF, runs `dust3r-sfm reconstruct` with and without the true camera (`given`), and compares
the model with the truth. `curve_px` is the error of the lens that 95 % of the picture stays below: where its rays would
meet the true picture. Results go to benchmarks/results/lenses.json after each run.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.cameras.lens_scenes import CASES
from benchmarks.common import RESULTS, Row, about, read_rows, stamped, write_record
from dust3r_sfm.colmap.model import read_model
from dust3r_sfm.evaluation.poses import evaluate_poses
from dust3r_sfm.geometry.pinhole import pixel_grid
from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.types import KnownCamera

STEP_PX = 20
"""Distance of the pixels that the lens is compared at."""


def curve_error(found: object, truth: KnownCamera) -> float:
    """Pixels of the true picture that 95 % of it stay below, after the turn between the two (principal points)."""
    width, height = truth.size
    xy = pixel_grid(height // STEP_PX, width // STEP_PX).reshape(-1, 2) * STEP_PX
    seen = np.asarray(found.cam_from_img(xy))  # type: ignore[attr-defined]
    there = np.asarray(colmap_camera(truth).img_from_cam(np.column_stack([seen, np.ones(len(seen))])))
    off = there - xy
    # A shift of the principal point is a turn of the camera.
    return float(np.percentile(np.linalg.norm(off - np.median(off, axis=0), axis=1), 95))


def measure(case: str, folder: Path, *, is_given: bool) -> Row:
    """Run one case and compare."""
    out = folder / ("given" if is_given else "found")
    command = [sys.executable, "-m", "dust3r_sfm.cli", "reconstruct", str(folder / "images"), str(out)]
    start = time.perf_counter()
    subprocess.run(command + (["--intrinsics", str(folder / "poses.json")] if is_given else []), check=True)
    seconds = time.perf_counter() - start
    model = read_model(out / "sparse" / "0")
    camera = model.cameras[next(iter(model.cameras))]
    errors = evaluate_poses(out / "sparse" / "0", folder / "poses.json")
    return {
        "case": case,
        "given": is_given,
        "registered": f"{errors.num_registered}/{errors.num_images}",
        "auc1": round(errors.auc[1], 2),
        "auc5": round(errors.auc[5], 2),
        "model": camera.model.name,
        "curve_px": round(curve_error(camera, CASES[case].camera), 2),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Measure, and write the record after each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--out", type=Path, help="keep photographs and models here (default: temporary)")
    arguments = parser.parse_args()
    result = RESULTS / "lenses.json"
    run = about()
    run["command"] = run["command"].replace("benchmarks/", "benchmarks/cameras/")
    rows = {(row["case"], row["given"]): row for row in read_rows(result)}
    with tempfile.TemporaryDirectory() as temporary:
        for case in arguments.cases:
            folder = (arguments.out or Path(temporary)) / case
            if not (folder / "poses.json").is_file():
                CASES[case].photograph(folder)
            for is_given in (True, False):
                rows[case, is_given] = stamped(measure(case, folder, is_given=is_given))
                print(rows[case, is_given], flush=True)
                write_record(result, rows.values(), run)


if __name__ == "__main__":
    main()
