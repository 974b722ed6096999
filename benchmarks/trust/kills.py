"""Kill every verb at random moments, run it again, and compare with a run that nobody disturbed.

    python -m benchmarks.trust.kills FOLDER --kills 50

FOLDER gets a small rendered scene, the undisturbed runs, and `kills.json`, a line per kill. Exit code 1: some differ.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dust3r_sfm.colmap.model import read_model
from dust3r_sfm.predictors.store import PredictionStore
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.synthetic.sample import sample
from dust3r_sfm.system.files import write_json

_NUM_VIEWS, _SIZE_RAW_PX = 5, (320, 240)
"""Of the scene: a verb takes seconds. Chosen by hand."""

_QUICK = ("--matcher", "sift")
"""Learned matches take minutes without a GPU."""

_SAME_POSE = 1e-6
"""Largest difference of any number of a pose, the house's promise for runs of one seed."""

_LONGEST_SECONDS = 600

Result = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A command that is killed.

    Attributes:
        arguments: of the command, for an output.
        result: what it left, as arrays by name.
        prepare: puts into an output what was there before.
    """

    arguments: Callable[[Path], list[str]]
    result: Callable[[Path], Result]
    prepare: Callable[[Path], None] = lambda out: None


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--verbs", nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    chosen = parser.parse_args()
    verbs = {name: verb for name, verb in scene_verbs(chosen.folder).items() if name in (chosen.verbs or VERBS)}
    until = time.monotonic() + 60 * chosen.minutes
    rows = kills(chosen.folder, verbs, chosen.kills, chosen.seed, until)
    wrong = [row for row in rows if not row["equal"]]
    print(f"{len(rows)} kills, {len(rows) - len(wrong)} equal")
    return 1 if wrong else 0


VERBS = ("reconstruct", "predict", "align", "export", "densify", "localize", "extend", "refine", "train")


def kills(folder: Path, verbs: dict[str, Verb], count: int, seed: int, until: float) -> list[dict[str, Any]]:
    """Kill verbs in turn, with SIGKILL and SIGTERM in turn.

    Args:
        folder: that `scene_verbs` has filled.
        verbs: by name.
        count: how many kills.
        seed: of the moments.
        until: of `time.monotonic`, when to stop.

    Returns:
        For each kill the verb, the signal, the moment, the exit codes, and whether the result is equal.
    """
    generator = random.Random(seed)
    whole: dict[str, tuple[Result, float]] = {}
    rows: list[dict[str, Any]] = []
    for number in range(count):
        if time.monotonic() > until:
            break
        name = list(verbs)[number % len(verbs)]
        verb = verbs[name]
        if name not in whole:
            started = time.monotonic()
            code, said = _run(verb, folder / "whole" / name)
            assert code == 0, said
            whole[name] = verb.result(folder / "whole" / name), time.monotonic() - started
        expected, seconds = whole[name]
        how = (signal.SIGKILL, signal.SIGTERM)[number // len(verbs) % 2]
        moment = generator.uniform(0.5, seconds)
        rows.append({"verb": name, **_killed(verb, folder / "killed" / name, how, moment, expected)})
        print(json.dumps(rows[-1]), flush=True)
        write_json(folder / "kills.json", rows)
    return rows


def _killed(verb: Verb, out: Path, how: signal.Signals, moment: float, expected: Result) -> dict[str, Any]:
    shutil.rmtree(out, ignore_errors=True)
    process = _start(verb, out)
    try:
        process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        process.send_signal(how)
    _, first = process.communicate(timeout=_LONGEST_SECONDS)
    code, said = _run(verb, out, resume=True)
    leftovers = [path.relative_to(out).as_posix() for path in out.rglob(".*.tmp*")] if out.is_dir() else []
    difference = _difference(verb.result(out), expected) if code == 0 else said.strip().splitlines()[-1:]
    allowed = {signal.SIGKILL: (0, -9), signal.SIGTERM: (0, 143, -15)}[how]
    is_quiet = len(first.splitlines()) < 40 and "Traceback" not in first and "***" not in first
    return {
        "signal": how.name,
        "seconds": round(moment, 2),
        "codes": [process.returncode, code],
        "leftovers": leftovers,
        "difference": difference,
        "equal": not difference and not leftovers and process.returncode in allowed and is_quiet,
        **({} if is_quiet else {"said": first}),
    }


def _start(verb: Verb, out: Path, resume: bool = False) -> "subprocess.Popen[str]":
    if not resume:
        verb.prepare(out)
    arguments = verb.arguments(out)
    if resume and arguments[0] == "train":
        arguments.append("--resume")
    if resume and arguments[0] == "export":
        arguments.append("--overwrite")
    command = [sys.executable, "-m", "dust3r_sfm.cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _run(verb: Verb, out: Path, resume: bool = False) -> tuple[int, str]:
    process = _start(verb, out, resume)
    _, said = process.communicate(timeout=_LONGEST_SECONDS)
    return process.returncode, said


def _difference(found: Result, expected: Result) -> list[str]:
    """Names of what differs."""
    same = {
        name
        for name in found.keys() & expected.keys()
        if found[name].shape == expected[name].shape
        and np.allclose(found[name], expected[name], rtol=0, atol=_SAME_POSE, equal_nan=True)
    }
    return sorted((found.keys() | expected.keys()) - same)


def scene_verbs(folder: Path) -> dict[str, Verb]:
    """Render the scene and make what the verbs start from; what is there already is taken as it is."""
    photos, some, fresh, queries = (folder / name for name in ("scene/images", "some", "fresh", "queries"))
    run = folder / "run"
    if not (run / "sparse" / "0").is_dir():
        sample(folder / "scene", num_views=_NUM_VIEWS, size=_SIZE_RAW_PX, seed=0)
        paths = sorted(photos.glob("*.jpg"))
        for kind, chosen in ((some, paths[:4]), (fresh, paths[4:]), (queries, paths[4:])):
            kind.mkdir(exist_ok=True)
            for path in chosen:
                shutil.copy(path, kind)
        subprocess.run(
            [sys.executable, "-m", "dust3r_sfm.cli", "reconstruct", str(some), str(run), *_QUICK], check=True
        )

    def begun(*names: str) -> Callable[[Path], None]:
        def prepare(out: Path) -> None:
            out.mkdir(parents=True)
            for name in names:
                source = run / name
                shutil.copytree(source, out / name) if source.is_dir() else shutil.copy(source, out)

        return prepare

    # The photographs of the run stay where they are; a densified run is a copy of its workspace.
    return {
        "reconstruct": Verb(arguments=lambda out: ["reconstruct", str(photos), str(out), *_QUICK], result=_model),
        "predict": Verb(arguments=lambda out: ["predict", str(photos), str(out), *_QUICK], result=_predictions),
        "align": Verb(arguments=lambda out: ["align", str(photos), str(out), *_QUICK], result=_scene),
        "export": Verb(arguments=lambda out: ["export", str(run), str(out), "--colmap", "--hloc"], result=_model),
        "densify": Verb(
            arguments=lambda out: ["densify", str(out)],
            result=lambda out: {name: np.array((out / name).is_file()) for name in ("fused.ply", "mesh.ply")},
            prepare=begun("dense_pointmaps", "dense", "run.json"),
        ),
        "localize": Verb(
            arguments=lambda out: ["localize", str(run), str(queries), str(out / "r.txt"), "--batch", "1", *_QUICK],
            result=_results,
        ),
        "extend": Verb(arguments=lambda out: ["extend", str(run), str(fresh), str(out), *_QUICK], result=_model),
        "refine": Verb(
            arguments=lambda out: ["refine", str(run / "sparse" / "0"), str(photos), str(out)], result=_model
        ),
        "train": Verb(
            arguments=lambda out: [
                *("train", str(out), "--preset", "mini-128", "--epochs", "1", "--pairs-per-epoch", "64"),
                *("--batch-size", "4", "--device", "cpu", "--save-every", "2", "--num-workers", "1"),
            ],
            result=_weights,
        ),
    }


def _model(out: Path) -> Result:
    images = read_model(out / "sparse" / "0").images.values()
    return {image.name: np.asarray(image.cam_from_world().matrix()) for image in images}


def _scene(out: Path) -> Result:
    scene = read_scene(out / "scene.h5")
    return dict(zip(scene.names, scene.cam_from_world, strict=True))


def _predictions(out: Path) -> Result:
    names = [line.split()[0] for line in (out / "pairs.txt").read_text(encoding="utf-8").splitlines()]
    store = PredictionStore(out / "predictions.h5", sorted(set(names)))
    return {str(edge): np.concatenate([store[edge].points1.ravel(), store[edge].points2.ravel()]) for edge in store}


def _results(out: Path) -> Result:
    queries = json.loads((out / "r.json").read_text(encoding="utf-8"))["queries"]
    return {name: np.array(values["cam_from_world"], np.float64) for name, values in queries.items()}


def _weights(out: Path) -> Result:
    from dust3r_sfm.network.checkpoint import read_checkpoint

    return {name: value.double().numpy() for name, value in read_checkpoint(out / "weights").state.items()}


if __name__ == "__main__":
    sys.exit(main())
