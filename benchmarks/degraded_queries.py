"""Are queries at night, or of a quarter of the resolution, localized? SIFT alone beside SIFT with learned features.

    python benchmarks/degraded_queries.py [--sets kitchen ...] [--kinds night ...] [--queries 8]

Photographs with known cameras are read from DUST3R_SFM_DATA (default ../shared/data). The maps are those of
localization.py: the red kitchen with the sensor's depth, and every other photograph of fox_a and fountain-P11 with its
known pose. Queries are made worse: `night` darkens them (gamma) and adds the noise of few photons and of the sensor,
`small` shrinks them to a quarter, `both` shrinks and darkens. `elsewhere` asks the kitchen for photographs of other
places, whole. Cameras are known. Written to benchmarks/results/degraded_queries.json.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import RESULTS, Row, about, write_record
from benchmarks.localization import ELSEWHERE, in_units
from benchmarks.localizing.cases import Case, elsewhere, kitchen, posed_photographs
from dust3r_sfm.evaluation.localization import compare_poses
from dust3r_sfm.features.matcher import choose_matcher
from dust3r_sfm.images.known_cameras import colmap_camera, known_camera
from dust3r_sfm.images.read import read_images
from dust3r_sfm.localization.features import FeaturePairs
from dust3r_sfm.localization.localize import localize_queries
from dust3r_sfm.localization.queries import Query
from dust3r_sfm.options import ImageOptions

SETS = ("kitchen", "fox_a", "strecha_fountain_p11")
KINDS = ("plain", "night", "small", "both")

_GAMMA, _PHOTONS, _READ_NOISE, _WHITE = 3.0, 2.0, 0.12, 90.0
"""Of the night: exponent, photons that white is, noise of the sensor as a share of white, and the grey that white
becomes. Chosen by hand, so that SIFT loses some."""

_SHRUNK = 4
"""Times that `small` photographs are smaller along each side."""


def night(pixels: np.ndarray, seed: int) -> np.ndarray:
    """A photograph in the dark."""
    rng = np.random.default_rng(seed)
    light = rng.poisson((pixels / 255.0) ** _GAMMA * _PHOTONS) / _PHOTONS
    seen = np.clip(light + rng.normal(0, _READ_NOISE, pixels.shape), 0, 1)
    return np.asarray(np.rint(seen ** (1 / 2.2) * _WHITE), np.uint8)


def degraded(case: Case, kind: str, folder: Path) -> Case:
    """The case with worse queries, which are written to a folder."""
    cameras, truth = {}, {}
    for number, view in enumerate(case.views):
        picture, camera = Image.open(view.path).convert("RGB"), colmap_camera(case.cameras[view.name])
        if kind in ("small", "both"):
            picture = picture.resize((view.size[0] // _SHRUNK, view.size[1] // _SHRUNK), Image.Resampling.BOX)
            camera.rescale(*picture.size)
        if kind in ("night", "both"):
            picture = Image.fromarray(night(np.asarray(picture, float), number))
        name = f"{number:03d}.png"
        picture.save(folder / name)
        cameras[name], truth[name] = known_camera(camera), case.truth[view.name]
    views = read_images(folder, ImageOptions(), names=sorted(cameras)).views
    return replace(case, views=views, cameras=cameras, truth=truth)


def asked(case: Case, matcher: str) -> Case:
    """The case, with the matcher of a name for queries in doubt."""
    features = choose_matcher(matcher)
    doubt = None if features is None else FeaturePairs(case.opened.reference, features, None)
    return replace(case, opened=replace(case.opened, doubt=doubt))


def measured(case: Case) -> Row:
    """Recalls in percent of all queries, with metres, or shares of the extent of all cameras."""
    started = time.perf_counter()
    found = localize_queries(case.opened, case.queries(known=True))
    poses = {each.name: each.cam_from_world for each in found if each.cam_from_world is not None}
    errors = compare_poses(in_units(poses, case.unit), in_units(case.truth, case.unit))
    return {
        "queries": errors.num_queries,
        "localized": errors.num_localized,
        "median": round(errors.median_translation, 5),
        "median_deg": round(errors.median_rotation, 3),
        "within_1cm_1deg": round(errors.recall[0.01, 1.0], 1),
        "within_5cm_5deg": round(errors.recall[0.05, 5.0], 1),
        "s_per_query": round((time.perf_counter() - started) / len(found), 2),
    }


def refused(case: Case, queries: Sequence[Query]) -> Row:
    """How many photographs of other places are localized."""
    started = time.perf_counter()
    found = localize_queries(case.opened, queries)
    return {
        "queries": len(found),
        "localized": sum(each.cam_from_world is not None for each in found),
        "highest_confidence": round(max(each.confidence for each in found), 3),
        "s_per_query": round((time.perf_counter() - started) / len(found), 2),
    }


def opened(name: str) -> Case:
    """The map of a set, and its queries."""
    return kitchen(20, within=False) if name == "kitchen" else posed_photographs(name, 20)


def fewer(case: Case, count: int | None) -> Case:
    """The case with its first queries alone."""
    views = case.views[:count]
    return replace(case, views=views, truth={view.name: case.truth[view.name] for view in views})


def main() -> None:
    """Measure, print a row each, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=[*SETS, "elsewhere"], default=[*SETS, "elsewhere"])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--matchers", nargs="+", default=["sift", "auto"])
    parser.add_argument("--queries", type=int, help="that many queries of each set alone")
    parser.add_argument("--results", type=Path, default=RESULTS / "degraded_queries.json")
    arguments = parser.parse_args()
    run = about(unit="metres for the kitchen; for the others the largest distance of two cameras")
    rows: list[Row] = []

    def keep(row: Mapping[str, object]) -> None:
        rows.append(dict(row))
        print(*(f"{name} {value}" for name, value in row.items()), sep="  ", flush=True)
        write_record(arguments.results, rows, run)

    for name in arguments.sets:
        if name == "elsewhere":
            queries = elsewhere(ELSEWHERE)[: arguments.queries]
            for matcher in arguments.matchers:
                keep({"set": name, "matcher": matcher} | refused(asked(opened("kitchen"), matcher), queries))
            continue
        whole = fewer(opened(name), arguments.queries)
        for kind in arguments.kinds:
            with tempfile.TemporaryDirectory() as folder:
                worse = whole if kind == "plain" else degraded(whole, kind, Path(folder))
                for matcher in arguments.matchers:
                    keep({"set": name, "kind": kind, "matcher": matcher} | measured(asked(worse, matcher)))


if __name__ == "__main__":
    main()
