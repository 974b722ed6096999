"""Global alignment: how fast, how exact, how much memory, and how it does against the reference package.

    python benchmarks/alignment.py                     # every table but that of real photographs
    python benchmarks/alignment.py time memory         # single tables
    python benchmarks/alignment.py photographs --runs FOLDER
    python benchmarks/alignment.py --quick             # a part of every table; writes nothing

Seconds are CPU seconds of one thread. Where DUST3R_REFERENCE names a checkout of the reference package (no part of this
project), it runs in the same process: in `time` its start and some of its 300 steps are measured, in the other tables
it runs in full. Its figures on the scenes are kept in results/alignment_reference.json and read from there;
--reference-anew measures them again. Scenes come from the generator in DUST3R_SFM_SCENES, real photographs from the
runs in FOLDER (SET-SEED/ with predictions.h5 and scene.h5) and the truth from DUST3R_SFM_DATA.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from threadpoolctl import threadpool_limits

from benchmarks import alignment_parts as parts
from benchmarks import alignment_problems as problems
from benchmarks import alignment_reference as reference
from benchmarks.alignment_collections import STEP, Collection
from benchmarks.common import RESULTS, Row, about, read_rows, stamped, write_record
from dust3r_sfm.alignment import align
from dust3r_sfm.geometry.procrustes import similarity
from dust3r_sfm.geometry.transforms import apply, centres
from dust3r_sfm.options import AlignOptions

Table = Literal[
    "time", "memory", "ordinary", "overconfident", "paper", "focal", "matching", "collections", "photographs"
]
TABLES: tuple[Table, ...] = Table.__args__  # type: ignore[attr-defined]
MODES = {
    "default": AlignOptions(shared_focal=False),
    "tied": AlignOptions(model="tied", shared_focal=False),
}
MEMORY_SIZES = ("16 of 128x96, complete", "8 of 224x168, complete")
COLLECTIONS = (50, 100, 200, 1000)
SAMPLES_OF_COLLECTIONS = 768


def cpu_seconds(run: Callable[..., object], *arguments: Any, repeats: int = 2) -> float:
    """Best CPU time of some runs."""
    best = np.inf
    for _ in range(repeats):
        started = time.process_time()
        run(*arguments)
        best = min(best, time.process_time() - started)
    return float(best)


def measure_time(quick: bool, **_: Any) -> list[dict[str, Any]]:
    """Table A: seconds of our modes and of the reference."""
    rows = []
    for name, size in list(problems.SIZES.items())[: 1 if quick else None]:
        problem = problems.generator().make(seed=0, **size)
        images, predictions = problems.inputs(problem)
        ours = {mode: cpu_seconds(align, images, predictions, options) for mode, options in MODES.items()}
        row: dict[str, Any] = {"problem": name, "edges": len(predictions), "seconds": ours}
        if reference.available():
            row["reference_seconds"] = reference.seconds(problem, 2 if quick else 5)
            row["times_faster"] = {mode: row["reference_seconds"] / seconds for mode, seconds in ours.items()}
        rows.append(report(row))
    return rows


def measure_memory(quick: bool, **_: Any) -> list[dict[str, Any]]:
    """Table A: peak memory above the inputs, of a fresh process for each method."""
    methods = [*MODES, *(["reference"] if reference.available() else [])]
    rows = []
    for name in MEMORY_SIZES[1 if quick else 0 :]:
        extra = {}
        for method in methods:
            command = [sys.executable, __file__, "--child", "peak", name, method]
            extra[method] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows.append(report({"problem": name, "extra_mib": extra}))
    return rows


def peak_memory(size: str, method: str) -> float:
    """MiB that this process needs above the inputs at its peak (Linux); imports are warmed up on a small problem."""

    def prepare(arguments: dict[str, Any]) -> Callable[[], object]:
        problem = problems.generator().make(seed=0, **arguments)
        if method == "reference":
            return lambda: reference.seconds(problem, 1)
        images, predictions = problems.inputs(problem)
        return lambda: align(images, predictions, MODES[method])

    prepare(problems.ORDINARY["8"])()
    run = prepare(problems.SIZES[size])
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmHWM")
    run()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def scenes(table: str, first_seed: int, count: int, quick: bool) -> list[tuple[str, dict[str, Any], int]]:
    """(kind, arguments, seed) of the scenes of a table."""
    kinds = problems.ORDINARY if table == "ordinary" else problems.OVERCONFIDENT
    return [
        (kind, arguments, first_seed + 10 * place + k)
        for place, (kind, arguments) in enumerate(kinds.items())
        for k in range(1 if quick else count)
    ]


def measure_accuracy(table: str, first_seed: int, count: int, quick: bool, anew: bool) -> list[dict[str, Any]]:
    """Tables B and C: errors of our modes and of the reference, scene by scene, and what they come to."""
    rows = []
    for kind, arguments, seed in scenes(table, first_seed, count, quick):
        problem = problems.generator().make(seed=seed, **arguments)
        images, predictions = problems.inputs(problem)
        row: dict[str, Any] = {"kind": kind, "seed": seed}
        for mode, options in MODES.items():
            row[mode] = problems.figures(problem, align(images, predictions, options))
        row["mended"] = reference.figures(problem, f"{kind}/{seed}", mended=True, anew=anew)
        if table == "ordinary":
            row["published"] = reference.figures(problem, f"{kind}/{seed}", mended=False, anew=anew)
        rows.append(report(row))
    rows.append(report({"summary": summarize(rows)}))
    return rows


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the scenes, and ratios to the mended reference where it is known."""
    methods = [*MODES, "mended", "published"]
    rows = [row for row in rows if row.get("mended")]
    if not rows:
        return {}
    names = ("ate", "rre", "rte", "foc", "pts")
    means = {
        method: {name: float(np.mean([row[method][name] for row in rows])) for name in names}
        for method in methods
        if all(row.get(method) for row in rows)
    }
    summary: dict[str, Any] = {"scenes": len(rows), "means": means}
    for mode in MODES:
        ratios = np.array([row[mode]["ate"] / row["mended"]["ate"] for row in rows])
        summary[mode] = {
            "ate_ratio_of_means": means[mode]["ate"] / means["mended"]["ate"],
            "rre_ratio_of_means": means[mode]["rre"] / means["mended"]["rre"],
            "ate_ratio_median": float(np.median(ratios)),
            "ate_ratio_below_1": float((ratios < 1).mean()),
            "ate_ratio_largest": float(ratios.max()),
        }
    return summary


def measure_paper(quick: bool, anew: bool, first_seed: int, **_: Any) -> list[dict[str, Any]]:
    """The reference's own objective: our loss against its loss, mended, on the ordinary scenes."""
    rows = []
    for kind, arguments, seed in scenes("ordinary", first_seed, 1, False)[: 1 if quick else None]:
        problem = problems.generator().make(seed=seed, **arguments)
        images, predictions = problems.inputs(problem)
        pixels = int(problem["H"] * problem["W"])
        options = AlignOptions(objective="reference", shared_focal=False, num_samples=pixels, max_steps=100)
        started = time.process_time()
        scene = align(images, predictions, options)
        row: dict[str, Any] = {"kind": kind, "seed": seed, "seconds": time.process_time() - started}
        row["loss"] = problems.reference_loss(scene, predictions)
        mended = reference.figures(problem, f"{kind}/{seed}", mended=True, anew=anew)
        if mended:
            row |= {"reference_loss": mended["loss"], "ratio": row["loss"] / mended["loss"]}
        rows.append(report(row))
    return rows


def measure_collections(quick: bool, **_: Any) -> list[dict[str, Any]]:
    """CPU seconds per image and peak memory of growing collections; each in a process of its own."""
    rows = []
    for num_images in COLLECTIONS[: 2 if quick else None]:
        command = [sys.executable, __file__, "--child", "collection", str(num_images)]
        rows.append(report(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)))
    base = next(row["cpu_seconds_per_image"] for row in rows if row["images"] == 100)
    return [row | {"per_image_over_100": row["cpu_seconds_per_image"] / base} for row in rows]


def one_collection(num_images: int) -> dict[str, Any]:
    """Align a synthetic collection."""
    collection = Collection(num_images)
    cpu, wall = time.process_time(), time.perf_counter()
    scene = align(collection.images, collection, AlignOptions(num_samples=SAMPLES_OF_COLLECTIONS))
    cpu, wall = time.process_time() - cpu - collection.seconds, time.perf_counter() - wall
    found, truth = centres(scene.cam_from_world), collection.world_from_cam[:, :, 3]
    errors = np.linalg.norm(apply(similarity(found, truth), found) - truth, axis=1)
    false = np.array([tuple(sorted(edge)) in collection.false for edge in scene.edges.tolist()])
    return {
        "images": num_images,
        "edges": len(collection),
        "cpu_seconds": cpu,
        "cpu_seconds_per_image": cpu / num_images,
        "wall_seconds_with_making_predictions": wall,
        "peak_mib": _status("VmHWM") / 1024,
        "registered": int(scene.registered.sum()),
        "rms_position_error_over_step": float(np.sqrt((errors**2).mean()) / STEP),
        "false_edges": int(false.sum()),
        "false_edges_kept": int((scene.edge_weights[false] > 0).sum()),
        "true_edges_rejected": int((scene.edge_weights[~false] == 0).sum()),
    }


def report(row: dict[str, Any]) -> dict[str, Any]:
    """Print a row, with four digits."""

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: short(each) for name, each in value.items()}
        return float(f"{value:.4g}") if isinstance(value, float) else value

    row = short(row)
    print(json.dumps(row), flush=True)
    return row


def main(
    tables: tyro.conf.Positional[tuple[Table, ...]] = (),
    quick: bool = False,
    reference_anew: bool = False,
    first_seed: int = 1000,
    runs: Path | None = None,
    out: Path = RESULTS / "alignment.json",
    child: tuple[str, ...] = (),
) -> None:
    """Measure and report.

    Args:
        tables: which tables; all by default (photographs only with --runs).
        quick: a part of each table, printed and not written.
        reference_anew: run the reference again on the scenes instead of reading what it gave.
        first_seed: seed of the first ordinary scene; over-confident ones begin 1000 later.
        runs: folder with finished runs on real photographs.
        out: where the result goes; tables that were not measured stay as they are in it.
        child: internal: what this process measures for another: peak PROBLEM METHOD, or collection NUM_IMAGES.
    """
    torch.set_num_threads(1)
    threadpool_limits(1)
    if child[:1] == ("peak",):
        print(peak_memory(*child[1:]))
        return
    # What the first call of a process pays for: imports, caches, loading or compiling kernels.
    images, predictions = problems.inputs(problems.generator().make(seed=0, N=4, H=24, W=32))
    cold = cpu_seconds(align, images, predictions, AlignOptions(), repeats=1)
    if child:
        print(json.dumps(one_collection(int(child[1]))))
        return
    measure: dict[Table, Callable[[], list[dict[str, Any]]]] = {
        "time": lambda: measure_time(quick),
        "memory": lambda: measure_memory(quick),
        "ordinary": lambda: measure_accuracy("ordinary", first_seed, 2, quick, reference_anew),
        "overconfident": lambda: measure_accuracy("overconfident", first_seed + 1000, 5, quick, reference_anew),
        "paper": lambda: measure_paper(quick, reference_anew, first_seed),
        "focal": lambda: [report(parts.focal())],
        "matching": lambda: [report(row) for row in parts.matching()],
        "collections": lambda: measure_collections(quick),
        "photographs": lambda: [report(row) for row in parts.photographs(runs, quick)] if runs else [],
    }
    measured: list[Row] = []
    for table in tables or TABLES:
        print(f"-- {table}", flush=True)
        measured += [stamped({"table": table} | row) for row in measure[table]()]
    if quick:
        return
    anew = {row["table"] for row in measured}
    kept = [row for row in read_rows(out) if row["table"] not in anew]
    rows = sorted(kept + measured, key=lambda row: TABLES.index(row["table"]))
    write_record(out, rows, about(cold_seconds=round(cold, 3), threads=1))


if __name__ == "__main__":
    tyro.cli(main)
