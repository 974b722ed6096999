"""How well are photographs localized? Ours beside an hloc-like baseline of pycolmap's parts, in one run.

    python benchmarks/localization.py [--cases kitchen ...] [--num-loc 20] [--maps FOLDER]

Photographs with known cameras are read from DUST3R_SFM_DATA (default ../shared/data). Cases: 7-Scenes red kitchen with
the sensor's depth (its 25 queries; and every other image of the map against the others), photographs of other places
against it, the time of one query, fox_a against a map that is reconstructed from every other photograph into FOLDER (a
temporary one by default; what is there is used), and posed photographs alone, of which every other one is the map. Each
with known cameras, and with unknown ones, which are found without and with a try of the map's. The baseline
(localizing/baseline.py) has the same retrieved images and the same points. Written to
benchmarks/results/localization.json.
"""

import argparse
import functools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.common import RESULTS, Row, about, write_record
from benchmarks.localizing.baseline import Baseline
from benchmarks.localizing.cases import Case, elsewhere, kitchen, posed_photographs, reconstructed
from dust3r_sfm.evaluation.localization import compare_poses
from dust3r_sfm.localization.correspond import Matcher, Pair
from dust3r_sfm.localization.localize import localize_image, localize_queries
from dust3r_sfm.options import LocalizeOptions
from dust3r_sfm.types import Matches, View

ELSEWHERE = ("fox_a", "sceaux_castle", "strecha_fountain_p11")
POSED = ("fox_a", "strecha_fountain_p11", "strecha_herzjesu_p8", "sceaux_castle")
NEAR = (0.25, 5.0)

Target = tuple[str, str, float]
"""A figure, whether it must be at most or at least, and the limit."""

KITCHEN: tuple[Target, ...] = (("median", "<=", 0.05), ("median_deg", "<=", 1.5), ("within_25cm_5deg", ">=", 90.0))
KITCHEN_UNKNOWN: tuple[Target, ...] = (("median", "<=", 0.1), ("median_deg", "<=", 2.5))
FOX: tuple[Target, ...] = (("median", "<=", 0.01), ("median_deg", "<=", 0.5))
TARGETS: Mapping[str, tuple[Target, ...]] = {
    "kitchen, known cameras": KITCHEN,
    "kitchen, unknown focal": KITCHEN_UNKNOWN,
    "fox_a, own map of known cameras, known cameras": FOX,
    "fox_a, own map, unknown focal, cameras of the map tried": FOX,
    "photographs of other places": (("localized", "<=", 0),),
}


def compare(name: str, case: Case) -> Iterator[tuple[str, Row]]:
    """Localize the queries of a case in every way, by ours and by the baseline; both match the photographs once."""
    matcher = Remembering(case.opened.matcher)
    ours = replace(case.opened, matcher=matcher)
    own_cameras = replace(ours, options=replace(ours.options, map_cameras=False))
    baseline = Baseline(ours)
    theirs: dict[bool, Row] = {}
    for cameras, opened, known in (
        ("known cameras", ours, True),
        ("unknown focal", own_cameras, False),
        ("unknown focal, cameras of the map tried", ours, False),
    ):
        queries, label = case.queries(known=known), f"{name}, {cameras}"
        if known not in theirs:
            theirs[known] = _figures(case, baseline.localize(queries))
            yield f"{label}, baseline", theirs[known]
        found = localize_queries(opened, queries)
        row = _figures(case, {each.name: each.cam_from_world for each in found if each.cam_from_world is not None})
        against: list[Target] = [(figure, "<=", theirs[known][figure]) for figure in ("median", "median_deg")]
        against.append(("within_25cm_5deg", ">=", theirs[known]["within_25cm_5deg"]))
        yield label, row | {"targets": _judged(row, [*TARGETS.get(label, ()), *against])}


class Remembering:
    """A matcher that matches each query once."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self._found: dict[tuple[Path, int], Matches] = {}

    def match(self, queries: Sequence[View], pairs: Sequence[Pair]) -> list[Matches]:
        """See `Matcher`."""
        new = [(query, image) for query, image in pairs if (queries[query].path, image) not in self._found]
        for (query, image), found in zip(new, self._matcher.match(queries, new), strict=True):
            self._found[queries[query].path, image] = found
        return [replace(self._found[queries[query].path, image], image1=query) for query, image in pairs]


def refusals(case: Case) -> Iterator[tuple[str, Row]]:
    """Photographs of other places have no business in the kitchen."""
    found = localize_queries(case.opened, elsewhere(ELSEWHERE))
    row: Row = {
        "queries": len(found),
        "localized": sum(each.cam_from_world is not None for each in found),
        "highest_confidence": round(max(each.confidence for each in found), 3),
    }
    name = "photographs of other places"
    yield name, row | {"targets": _judged(row, TARGETS[name])}


def one_by_one(case: Case) -> Iterator[tuple[str, Row]]:
    """The time of `localize_image` on an open map, and how much of it is the matcher's."""
    matcher = TimedMatcher(case.opened.matcher)
    opened = replace(case.opened, matcher=matcher)
    views = case.views[:10]
    started = time.process_time()
    for view in views:
        localize_image(opened, view.path, case.cameras[view.name])
    seconds = (time.process_time() - started) / len(views)
    yield "one query, open map", {"cpu_s": round(seconds, 3), "cpu_s_matcher": round(matcher.seconds / len(views), 3)}


class TimedMatcher:
    """A matcher whose CPU seconds are counted."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self.seconds = 0.0

    def match(self, queries: Sequence[View], pairs: Sequence[Pair]) -> list[Matches]:
        """See `Matcher`."""
        started = time.process_time()
        found = self._matcher.match(queries, pairs)
        self.seconds += time.process_time() - started
        return found


def in_units(poses: Mapping[str, np.ndarray], unit: float) -> dict[str, np.ndarray]:
    """Poses whose translations are in other units."""
    return {name: np.column_stack([pose[:, :3], pose[:, 3] / unit]) for name, pose in poses.items()}


def _figures(case: Case, found: Mapping[str, np.ndarray]) -> Row:
    """The medians (metres, or shares of the extent of the cameras; degrees), means of those localized, recalls."""
    errors = compare_poses(in_units(found, case.unit), in_units(case.truth, case.unit))
    return {
        "queries": errors.num_queries,
        "localized": errors.num_localized,
        "median": round(errors.median_translation, 5),
        "median_deg": round(errors.median_rotation, 4),
        "mean": round(float(np.mean([value for value in errors.translation.values() if np.isfinite(value)])), 5),
        "within_1cm_1deg": round(errors.recall[0.01, 1.0], 1),
        "within_25cm_5deg": round(errors.recall[NEAR], 1),
    }


def _judged(row: Row, targets: Sequence[Target]) -> dict[str, bool]:
    return {
        f"{figure} {sense} {limit:g}": bool(row[figure] <= limit if sense == "<=" else row[figure] >= limit)
        for figure, sense, limit in targets
    }


def _shown(row: Row) -> str:
    figures = "  ".join(f"{name} {value}" for name, value in row.items() if name != "targets")
    judged = row.get("targets", {})
    return f"    {figures}" + "".join(
        f"\n    {'reached' if reached else 'MISSED'}: {target}" for target, reached in judged.items()
    )


def all_cases(num_loc: int, folder: Path) -> dict[str, Callable[[], Iterator[tuple[str, Row]]]]:
    """The cases by name; a map is opened when its case is run."""

    @functools.cache
    def whole() -> Case:
        return kitchen(num_loc, within=False)

    def fox(name: str, *, known: bool) -> Iterator[tuple[str, Row]]:
        return compare(name, reconstructed("fox_a", folder, num_loc, known=known))

    def posed(name: str) -> Iterator[tuple[str, Row]]:
        return compare(f"{name}, posed photographs", posed_photographs(name, num_loc))

    return {
        "kitchen": lambda: compare("kitchen", whole()),
        "elsewhere": lambda: refusals(whole()),
        "open-map": lambda: one_by_one(whole()),
        "kitchen-within": lambda: compare("kitchen, within the map", kitchen(num_loc, within=True)),
        "fox-known": lambda: fox("fox_a, own map of known cameras", known=True),
        "fox-unknown": lambda: fox("fox_a, own map", known=False),
        **{name: functools.partial(posed, name) for name in POSED},
    }


def main() -> None:
    """Run the cases, print a row each, write the JSON."""
    names = list(all_cases(0, Path()))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=names, default=names)
    parser.add_argument("--num-loc", type=int, default=LocalizeOptions().num_loc)
    parser.add_argument("--maps", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS / "localization.json")
    arguments = parser.parse_args()
    run = about(unit="metres for the kitchen; for the others the largest distance of two cameras")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        cases = all_cases(arguments.num_loc, arguments.maps or Path(temporary))
        for case in arguments.cases:
            for name, row in cases[case]():
                print(name, _shown(row), sep="\n", flush=True)
                rows.append({"case": name} | row)
                write_record(arguments.results, rows, run)


if __name__ == "__main__":
    main()
