"""One scene of a benchmark: posed images, queries with known poses; localized, written, compared."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.evaluation.localization import LocalizationErrors, compare_poses
from dust3r_sfm.localization.depths import DepthReader
from dust3r_sfm.localization.lift import DepthLift, FirstOf, Lift, PointLift
from dust3r_sfm.localization.localize import localize_queries
from dust3r_sfm.localization.open_map import OWN_RADIUS_OF_SIDE, RADIUS_OF_SIDE, LocalizationMap, make_map
from dust3r_sfm.localization.queries import Query, open_queries
from dust3r_sfm.localization.reference import Reference, read_reference
from dust3r_sfm.localization.results import Results
from dust3r_sfm.options import LocalizeOptions, PredictorOptions, RunOptions
from dust3r_sfm.predictors.predictor import PairPredictor, load_predictor, predictor_facts
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.system.files import write_text
from dust3r_sfm.system.progress import Progress
from dust3r_sfm.types import KnownCamera


@dataclass(frozen=True, kw_only=True)
class BenchmarkScene:
    """A scene, whatever its files looked like.

    Attributes:
        name: of the scene.
        image_root: folder that all names are relative to.
        model: COLMAP model whose posed images are the mapping images, with or without points.
        cameras: of the queries, by name.
        truth: poses of the queries (camera from world), by the same names.
        retrieval: hloc's pairs file, or None.
        depth: makes the reader of the mapping images' depth maps, or None where only the points count.
    """

    name: str
    image_root: Path
    model: Reconstruction
    cameras: Mapping[str, KnownCamera]
    truth: Mapping[str, np.ndarray]
    retrieval: Path | None = None
    depth: Callable[[Reference], DepthReader] | None = None


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a scene is localized.

    Attributes:
        num_loc: retrieved images.
        num_covis: neighbours of each mapping image in the pairs file of covisible images.
        unknown_focal: whether the queries' cameras are kept from the localization.
        predict: the predictor.
        run: seed, overwrite.
    """

    num_loc: int
    num_covis: int
    unknown_focal: bool
    predict: PredictorOptions
    run: RunOptions


def localize_scene(
    scene: BenchmarkScene, out: Path, stem: str, protocol: Protocol, progress: Progress
) -> LocalizationErrors:
    """Localize the queries of a scene; an interrupted run is gone on with.

    Writes out/query_list_with_intrinsics.txt, out/pairs-db-covisN.txt (where the model has points), out/STEM.txt in
    hloc's format and out/STEM.json.

    Raises:
        InputError: photographs or cameras cannot be used.
        OutputError: `out` holds results of other options.
    """
    # Every query of a benchmark shows the scene, so that no pose is withheld for seeming to show another one; and an
    # unknown focal length is not taken from the map, whose images the same camera took.
    options = LocalizeOptions(
        num_loc=protocol.num_loc, retrieval_pairs=scene.retrieval, min_confidence=0.0, map_cameras=False
    )
    predictor = load_predictor(protocol.predict, protocol.run.seed)
    queries_path = out / "query_list_with_intrinsics.txt"
    write_text(queries_path, _query_list(scene.cameras))
    if scene.model.num_points3D():
        pairs = covisible_pairs(scene.model, protocol.num_covis)
        write_text(out / f"pairs-db-covis{protocol.num_covis}.txt", "".join(f"{a} {b}\n" for a, b in pairs))
    inputs = _inputs(scene, protocol, options)
    results = Results(out / f"{stem}.txt", inputs, overwrite=protocol.run.overwrite)
    with open_queries(queries_path, scene.image_root, options, predictor.grid) as queries:
        waiting = [query for query in queries if query.name not in results.done]
        if protocol.unknown_focal:
            waiting = [replace(query, camera=None) for query in waiting]
        if waiting:
            _localize(_open(scene, out, predictor, options, protocol, progress), waiting, results, progress)
        results.finish([query.name for query in queries], options.result_names, options.failed)
    poses = {name: each.cam_from_world for name, each in results.done.items() if each.cam_from_world is not None}
    return compare_poses(poses, scene.truth)


def covisible_pairs(model: Reconstruction, num_covis: int) -> list[tuple[str, str]]:
    """Pairs of an image and those that share most of its points, as hloc's `pairs_from_covisibility` writes them."""
    pairs = []
    for image in sorted((image for image in model.images.values() if image.has_pose), key=lambda image: image.name):
        seen = [model.point3D(point.point3D_id).track.elements for point in image.get_observation_points2D()]
        ids, shared = np.unique(
            np.array([element.image_id for track in seen for element in track], np.int64), return_counts=True
        )
        others = [(-count, model.image(index).name) for index, count in zip(ids, shared, strict=True)]
        pairs += [(image.name, name) for _, name in sorted(others) if name != image.name][:num_covis]
    return pairs


def require_files(paths: Iterable[Path], whole: str, remedy: str) -> None:
    """Refuse a data set of which files are missing.

    Raises:
        InputError: says how many, one of them, and the remedy.
    """
    expected = list(paths)
    missing = [path for path in expected if not path.is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of the {len(expected)} files of {whole} are missing ({missing[0]} for one); {remedy}."
        )


def read_lines(path: Path) -> list[tuple[str, str]]:
    """Read the lines of a text file that are not empty, each with its place for a message about it.

    Raises:
        InputError: the file is missing, empty or no text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is missing or no text file; unpack the data set again.") from error
    entries = [(line.strip(), f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if not entries:
        raise InputError(f"{path} is empty; unpack the data set again.")
    return entries


def _open(
    scene: BenchmarkScene,
    out: Path,
    predictor: PairPredictor,
    options: LocalizeOptions,
    protocol: Protocol,
    progress: Progress,
) -> LocalizationMap:
    reference = read_reference(scene.model, scene.image_root, predictor.grid)
    lifts: list[Lift] = [] if scene.depth is None else [DepthLift(reference, scene.depth(reference))]
    if scene.model.num_points3D():
        lifts.insert(0, PointLift(reference, OWN_RADIUS_OF_SIDE if lifts else RADIUS_OF_SIDE))
    seed, cache = protocol.run.seed, out / "cache"
    return make_map(
        reference, FirstOf(lifts), predictor, replace(options, cache=cache), protocol.predict, seed, progress
    )


def _localize(opened: LocalizationMap, waiting: Sequence[Query], results: Results, progress: Progress) -> None:
    batch, total = opened.options.batch, len(results.done) + len(waiting)
    with progress.stage("localize") as step:
        for start in range(0, len(waiting), batch):
            results.add(localize_queries(opened, waiting[start : start + batch]))
            step(len(results.done), total)


def _query_list(cameras: Mapping[str, KnownCamera]) -> str:
    return "".join(
        f"{name} {camera.model} {' '.join(map(repr, (*camera.size, *camera.params)))}\n"
        for name, camera in cameras.items()
    )


def _inputs(scene: BenchmarkScene, protocol: Protocol, options: LocalizeOptions) -> dict[str, Any]:
    """What the results depend on, as JSON values."""
    return {
        "scene": scene.name,
        "image_root": str(scene.image_root.resolve()),
        "num_mapping": scene.model.num_reg_images(),
        "num_points": scene.model.num_points3D(),
        "depth": scene.depth is not None,
        "unknown_focal": protocol.unknown_focal,
        **{name: asdict(options)[name] for name in ("num_loc", "retrieval_pairs", "min_confidence")},
        **predictor_facts(protocol.predict),
        "seed": protocol.run.seed,
    }
