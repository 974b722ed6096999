"""Is what is registered right, on photographs that are hard by their making?

    python benchmarks/hard_cases.py [--cases equal_sides arcade] [--seeds 0] [--out FOLDER]

Renders scenes with exact truth (scenes/hard.py), runs `dust3r-sfm reconstruct` at its defaults on each, and compares
every model of the run with the truth. `rra15` is the share of pairs of photographs registered in one model whose
relative rotation is within 15 degrees (pairs of two scenes in one model count as wrong); it must be 100. `auc5` is over
all pairs of a scene, `names_rest` says whether the summary names every photograph that is in no model, or how many
there are, `folded` whether it says that the model may be folded. Results go to benchmarks/results/hard_cases.json after
each run.
"""

import argparse
import itertools
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import RESULTS, Row, about, read_rows, stamped, write_record
from benchmarks.scenes.hard import CASES, Photograph
from dust3r_sfm.colmap.model import read_model
from dust3r_sfm.evaluation.poses import relative_errors
from dust3r_sfm.geometry.transforms import compose, invert
from dust3r_sfm.synthetic.sample import pose_record
from dust3r_sfm.system.files import write_json

RIGHT_DEGREES, AUC_DEGREES = 15.0, 5.0
WRONG_DEGREES = 180.0


def photograph(name: str, seed: int, folder: Path) -> list[Photograph]:
    """Render a case into folder/images and folder/truth.json."""
    rng = np.random.default_rng((seed, list(CASES).index(name)))
    taken = CASES[name](rng)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for each in taken:
        path = folder / "images" / each.shot.name
        Image.fromarray(each.take(rng)).save(path, quality=95, subsampling=0, exif=each.exif())
    write_json(folder / "truth.json", {each.shot.name: pose_record(each.shot) for each in taken})
    return taken


def errors_of(taken: list[Photograph], models: list[dict[str, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Rotation errors of the pairs within one model, and the larger of both errors of all pairs of one scene."""
    within, overall = [], []
    for first, second in itertools.combinations(taken, 2):
        names = first.shot.name, second.shot.name
        placed = next((model for model in models if all(name in model for name in names)), None)
        rotation = direction = WRONG_DEGREES
        if placed is not None and first.scene == second.scene:
            true_step = step(*(each.shot.raw_cam_from_world for each in (first, second)))
            errors = relative_errors(true_step, step(*(placed[name] for name in names)), np.ones(1, bool))
            rotation, direction = (float(error[0]) for error in errors)
        if placed is not None:
            within.append(rotation)
        if first.scene == second.scene:
            overall.append(max(rotation, direction))
    return np.array(within), np.array(overall)


def step(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Camera 2 from camera 1 (1, 3, 4)."""
    return np.asarray(compose(second[None], invert(first[None])))


def measure(name: str, seed: int, out: Path) -> Row:
    """Render, reconstruct, compare."""
    folder = out / f"{name}-{seed}"
    taken = photograph(name, seed, folder)
    start = time.perf_counter()
    command = [sys.executable, "-m", "dust3r_sfm.cli", "reconstruct", str(folder / "images"), str(folder / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    (folder / "summary.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    models = []
    for path in sorted((folder / "run" / "sparse").glob("[0-9]*")):
        model = read_model(path)
        models.append({image.name: image.cam_from_world().matrix() for image in model.images.values()})
    within, overall = errors_of(taken, models)
    rest = sorted({each.shot.name for each in taken}.difference(*models))
    said = " ".join((done.stdout + done.stderr).split())
    return stamped(
        {
            "case": name,
            "seed": seed,
            "photographs": len(taken),
            "registered": len(taken) - len(rest),
            "models": [len(model) for model in models],
            "rra15": round(100 * float((within <= RIGHT_DEGREES).mean()), 1) if len(within) else None,
            "auc5": round(100 * float(np.clip(1 - overall / AUC_DEGREES, 0, None).mean()), 1),
            "names_rest": names_rest(said, rest, len(taken)),
            "folded": "folded" in said,
            "seconds": round(seconds, 1),
        }
    )


def names_rest(said: str, rest: list[str], num_photographs: int) -> bool:
    """Whether a summary names the photographs that are in no model, or counts them."""
    return all(name in said for name in rest) or bool(re.search(rf"{len(rest)} of {num_photographs} photographs", said))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--out", type=Path, help="keep photographs and runs here")
    arguments = parser.parse_args()
    result = RESULTS / "hard_cases.json"
    with tempfile.TemporaryDirectory() as temporary:
        for name, seed in itertools.product(arguments.cases, arguments.seeds):
            row = measure(name, seed, arguments.out or Path(temporary))
            print(json.dumps(row), flush=True)
            others = [each for each in read_rows(result) if (each["case"], each["seed"]) != (name, seed)]
            rows = sorted([*others, row], key=lambda each: (list(CASES).index(each["case"]), each["seed"]))
            write_record(result, rows, about())


if __name__ == "__main__":
    main()
