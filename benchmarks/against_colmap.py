"""How precise and how fast is the model, beside COLMAP's own of the same photographs?

    python benchmarks/against_colmap.py [--sets fox_a sample_100] [--seeds 0 1 2] [--out FOLDER]
    python benchmarks/against_colmap.py --sides ours                # ours alone: how good are models of photographs?
    python benchmarks/against_colmap.py --sides incremental learned # SIFT beside ALIKED and LightGlue

Runs `dust3r-sfm reconstruct` at its defaults, and pycolmap (SIFT, exhaustive matching, incremental and global mapper)
at the full stored resolution. pycolmap runs under the policy that our run chose (which photographs share a camera,
camera model, principal point free or fixed). The plain sides are both under COLMAP's own policy, SIMPLE_RADIAL with the
principal point fixed: what references that COLMAP made are like. `learned` is the incremental mapper on learned
features, and needs weights (against_colmap_learned.py). Every seed is one result; the table shows medians, and below it
stands what they say: images, AUC@1 and time of each set against both mappers.

The sets are read from DUST3R_SFM_DATA (default ../shared/data): SET/images and SET/poses.json; sample_N is a set of N
rendered photographs. Results go to benchmarks/results/against_colmap.json after each run; runs in it are not repeated
(--again repeats them).
"""

import argparse
import functools
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.against_colmap_sides import PLAIN, mapped, measured, ours, ours_plain, sift_database
from benchmarks.common import DATA, RESULTS, Row, about, read_rows, stamped, write_record
from dust3r_sfm.errors import Dust3rSfmError
from dust3r_sfm.system._pycolmap import pycolmap

SETS = (
    "strecha_fountain_p11",
    "strecha_herzjesu_p8",
    "fox_a",
    "sceaux_castle",
    "sacre_coeur",
    "nle_tower",
    "opensfm_lund",
)
SIDES = ("ours", "incremental", "global", "ours_plain", "incremental_plain")
LEARNED = "learned"
MAPPERS = ("incremental", "global", LEARNED)
AUC_MARGIN = 1.0
"""Points by which our AUC@1 may be lower on a set."""
TIMES = ((50, 3.0), (100, None), (sys.maxsize, 1.0))
"""Below so many photographs our time may be so many times pycolmap's; None: no rule."""
Key = tuple[str, str, int]
"""Set, side, seed."""


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


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared, and what is known of it already.

    Attributes:
        seeds, sides: to run.
        out: where models go.
        done: rows so far; runs add to it.
        result: the record, written after each run.
    """

    seeds: Sequence[int]
    sides: Sequence[str]
    out: Path
    done: dict[Key, Row]
    result: Path

    def run(self, name: str) -> None:
        """Run what is missing of a set."""
        images, reference = photographs(name, self.out)
        for seed in self.seeds:
            run = self.out / f"{name}-ours-{seed}"
            self._add((name, "ours", seed), functools.partial(ours, images, run, seed), run, reference)
        policy = next((row["policy"] for row in self.done.values() if row["set"] == name and "policy" in row), None)
        if policy is None:
            return
        for seed in self.seeds:
            run, folder = self.out / f"{name}-ours-{seed}", self.out / f"{name}-ours_plain-{seed}"
            if (run / "features.h5").is_file():
                self._add(
                    (name, "ours_plain", seed), functools.partial(ours_plain, run, folder, seed), folder, reference
                )
        for side in ("incremental", "global", "incremental_plain", LEARNED):
            if side in self.sides and any((name, side, seed) not in self.done for seed in self.seeds):
                self._map(name, side, images, reference, policy | PLAIN if side.endswith("plain") else policy)

    def _map(self, name: str, side: str, images: Path, reference: Path, policy: Row) -> None:
        """Make the database of a side, once for all that share it, and map it with each seed."""
        make = sift_database
        if side == LEARNED:
            from benchmarks.against_colmap_learned import learned_database as make
        database = self.out / f"{name}-{policy['model']}{'-learned' if side == LEARNED else ''}.db"
        timing = database.with_suffix(".json")
        if not timing.is_file():
            timing.write_text(json.dumps(make(images, database, policy, 0)), encoding="utf-8")
        before = json.loads(timing.read_text(encoding="utf-8"))
        mapper = "global" if side == "global" else "incremental"
        for seed in self.seeds:
            folder = self.out / f"{name}-{side}-{seed}"
            run = functools.partial(
                mapped,
                images,
                database,
                folder,
                seed=seed,
                mapper=mapper,
                free=policy["principal_point"],
                before=before,
            )
            self._add((name, side, seed), run, folder, reference)

    def _add(self, key: Key, make: Callable[[], Row], model: Path, reference: Path) -> None:
        """Run one side with one seed, unless that is done or not asked for; print and save."""
        name, side, seed = key
        if key in self.done or side not in self.sides:
            return
        row = stamped({"set": name, "side": side, "seed": seed} | make())
        if "error" not in row:
            row |= measured(model, reference)
        self.done[key] = row
        print(json.dumps({field: value for field, value in row.items() if field != "policy"}), flush=True)
        write_record(self.result, self.done.values(), about())


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
        for side in (*SIDES, LEARNED):
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


def main() -> None:
    """Run what is missing, print the table and the verdicts, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--sides", nargs="+", choices=[*SIDES, LEARNED], default=SIDES)
    parser.add_argument("--out", type=Path, help="keep the models here, and go on from there (default: temporary)")
    parser.add_argument("--result", type=Path, default=RESULTS / "against_colmap.json")
    parser.add_argument("--again", action="store_true", help="repeat runs that the result holds")
    arguments = parser.parse_args()
    if LEARNED in arguments.sides:
        from benchmarks.against_colmap_learned import weights

        try:
            weights()
        except Dust3rSfmError as error:
            parser.error(str(error))
    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.ERROR)
    done: dict[Key, Row] = {(row["set"], row["side"], row["seed"]): row for row in read_rows(arguments.result)}
    if arguments.again:
        for key in itertools.product(arguments.sets, arguments.sides, arguments.seeds):
            done.pop(key, None)
    with tempfile.TemporaryDirectory() as temporary:
        comparison = Comparison(
            seeds=arguments.seeds,
            sides=arguments.sides,
            out=arguments.out or Path(temporary),
            done=done,
            result=arguments.result,
        )
        for name in arguments.sets:
            comparison.run(name)
    print(table(list(done.values())))
    print(verdicts(list(done.values())))


if __name__ == "__main__":
    main()
