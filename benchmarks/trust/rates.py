"""How often is a wrong model called doubtful, and how often a right one?

    python -m benchmarks.trust.rates --render --seeds 0 1 --folder FOLDER      render, reconstruct, measure
    python -m benchmarks.trust.rates --runs OUT [OUT ...]                      measure finished runs
    python -m benchmarks.trust.rates                                           judge what is stored, print the rates

A run is right when at least 90 % of the pairs of photographs registered in sparse/0 have a relative rotation within 5
degrees of the truth; a model of photographs that were turned on the spot never is. The figures of each run are stored
in benchmarks/results/trust.json, so that the verdict can be recomputed when a threshold moves. Rates are told of two
halves of the kinds, so that thresholds can be set on one (SET_ON) and checked on the other; the present ones were
chosen by hand looking at runs of both. Truth of a finished run is truth.json beside it, or poses.json of the data set
that holds its photographs.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.common import DATA, RESULTS, Row, read_rows, write_record
from benchmarks.trust.scenes import KINDS, write_case
from dust3r_sfm.colmap.model import read_model
from dust3r_sfm.evaluation.poses import evaluate_poses
from dust3r_sfm.features.features import read_features
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.verdict import ModelFacts, judge, measure

RIGHT_RRA5_PERCENT = 90.0
"""Share of the registered pairs within 5 degrees from which a model counts as right; chosen by hand."""
SET_ON = (
    "steps_10",
    "along_a_wall",
    "mixed_zoom",
    "equal_sides",
    "turning",
    "two_scenes",
    "far_apart",
    "fountain",
    "fox",
)
"""Kinds to set thresholds on."""
FALSE_ALARMS = 0.01
KNOWN_OF_NAMES = 0.6
"""Share of a model's photographs whose cameras a data set must know for it to be theirs."""


def rra5_of_registered(out: Path, truth: Path) -> float:
    """Share in percent of the registered pairs whose relative rotation is within 5 degrees."""
    errors = evaluate_poses(out / "sparse" / "0", truth)
    given, placed = (count * (count - 1) / 2 for count in (errors.num_images, errors.num_registered))
    return float(errors.rra[5] * given / placed) if placed else 0.0


def facts_of(out: Path) -> ModelFacts:
    """The figures of a finished run, from its files."""
    scene, model = read_scene(out / "scene.h5"), read_model(out / "sparse" / "0")
    file = out / "features.h5"
    return measure(model, scene, read_features(file, scene.views) if file.is_file() else [], 0)


def measured(kind: str, name: str, out: Path, truth: Path) -> Row:
    """The row of a run."""
    rra5 = rra5_of_registered(out, truth)
    is_right = rra5 >= RIGHT_RRA5_PERCENT and kind != "turning"
    return {"kind": kind, "name": name, "rra5": round(rra5, 1), "right": is_right, "facts": facts_of(out).as_json()}


def truth_of(out: Path) -> tuple[str, Path] | None:
    """Kind and truth of a finished run: truth.json beside it, or the data set that holds its photographs."""
    for folder in (out.parent, out.parent / "case"):
        if (folder / "truth.json").is_file():
            kind = (out.parent.parent if out.parent.name == "case" else out.parent).name
            return kind.rsplit("-", 1)[0] if kind[-1].isdigit() else kind, folder / "truth.json"
    names = {image.name for image in read_model(out / "sparse" / "0").images.values()}
    sets = list(DATA.glob("*/poses.json"))
    sets = [poses for poses in sets if poses.parent.name in str(out)] or sets
    known = {poses: names & set(json.loads(poses.read_text(encoding="utf-8"))) for poses in sets}
    best = max(known, key=lambda poses: (len(known[poses]), str(poses)))
    return (best.parent.name, best) if len(known[best]) > KNOWN_OF_NAMES * len(names) else None


def measured_run(out: Path) -> Row | None:
    """The row of a finished run; None where its truth is not known."""
    told = truth_of(out)
    return None if told is None else measured(told[0], f"{told[0]}/{out.parent.name}-{out.name}", out, told[1])


def rendered(kinds: list[str], seeds: list[int], folder: Path) -> Iterator[Row]:
    """Render, reconstruct and measure."""
    for seed, kind in itertools.product(seeds, kinds):
        case = folder / f"{kind}-{seed}"
        out = case / "out"
        if not (case / "done").is_file():
            written = write_case(kind, seed, case)
            options = ["--matcher", "sift"]
            options += [] if written.cameras is None else ["--intrinsics", str(case / "cameras.json")]
            command = [sys.executable, "-m", "dust3r_sfm.cli", "reconstruct", str(case / "images"), str(out), *options]
            with (case / "log").open("w") as log:
                run = subprocess.run(command, stdout=log, stderr=log, env=os.environ, check=False)
            (case / "done").write_text(str(run.returncode))
        if (out / "sparse" / "0").is_dir():
            yield measured(kind, f"{kind}-{seed}", out, case / "truth.json")


def rates(rows: list[Row]) -> str:
    """The table: wrong runs caught at the verdict's own threshold, and at the one that 1 % of the right runs pass."""
    lines = []
    halves = {
        "all": rows,
        "set on": [row for row in rows if str(row["kind"]).startswith(SET_ON)],
        "held out": [row for row in rows if not str(row["kind"]).startswith(SET_ON)],
    }
    for half, part in halves.items():
        weights = np.array([judge(ModelFacts.of_json(row["facts"])).weight for row in part])
        right = np.array([bool(row["right"]) for row in part])
        if not right.any() or right.all():
            continue
        limit = float(np.quantile(weights[right], 1 - FALSE_ALARMS, method="higher"))
        area = (weights[~right][:, None] > weights[right]).mean() + 0.5 * (
            weights[~right][:, None] == weights[right]
        ).mean()
        lines.append(
            f"{half:9} {right.sum():3} right, {(weights[right] >= 1).sum()} doubtful; {(~right).sum():3} wrong, "
            f"{(weights[~right] >= 1).sum()} doubtful, {(weights[~right] >= 0.5).sum()} at half the weight; above "
            f"{1 - FALSE_ALARMS:.0%} of the right (weight {limit:.2f}): "
            f"{100 * (weights[~right] > limit).mean():.0f} %; area {area:.3f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure what is asked for, and print the rates of all that is stored."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--render", nargs="*", choices=list(KINDS), default=None)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--folder", type=Path, default=Path("trust"))
    parser.add_argument("--runs", nargs="*", type=Path, default=[])
    options = parser.parse_args()
    file = RESULTS / "trust.json"
    rows = {str(row["name"]): row for row in read_rows(file)}
    made = (measured_run(out) for out in options.runs)
    drawn = rendered(options.render or list(KINDS), options.seeds, options.folder) if options.render is not None else ()
    for row in itertools.chain(made, drawn):
        if row is not None:
            rows[str(row["name"])] = row
            print(row["name"], row["rra5"], judge(ModelFacts.of_json(row["facts"])).level, flush=True)
            write_record(file, [rows[name] for name in sorted(rows)])
    print(rates(list(rows.values())))


if __name__ == "__main__":
    main()
