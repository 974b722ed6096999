"""What the results of a localization depend on: the content of the map, of the queries, and of hloc's files."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dust3r_sfm.images.colmap_models import find_model
from dust3r_sfm.localization.open_map import UnopenedMap
from dust3r_sfm.localization.queries import Query
from dust3r_sfm.predictors.predictor import predictor_facts
from dust3r_sfm.system.digest import contents, contents_of, digest, digest_of

_NOT_FOUND_BY = ("batch", "cache", "failed", "result_names", "image_root", "query_images", "query_intrinsics")
"""Options that change where things are or how they are written, not what is found; cameras count with the queries."""

_FILES = ("depth_maps", "retrieval_pairs", "global_features", "hloc_features", "hloc_matches")
"""Options that name files."""


def localization_inputs(unopened: UnopenedMap, queries: Sequence[Query]) -> dict[str, Any]:
    """What the results depend on, as JSON values; check sums where it is files.

    Args:
        unopened: the map, with its options.
        queries: as they were read.
    """
    options = {name: value for name, value in asdict(unopened.options).items() if name not in _NOT_FOUND_BY}
    return {
        **_map_inputs(unopened),
        "queries": digest_of([[query.name, digest(query.view.path) if query.view else None] for query in queries]),
        "query_cameras": digest_of([str(query.camera) for query in queries]),
        **contents_of(options, _FILES),
        **predictor_facts(unopened.predict),
        "seed": unopened.seed,
    }


def _map_inputs(unopened: UnopenedMap) -> dict[str, str | None]:
    """The model, its photographs, and the depth beside it: that of a run, or COLMAP's; empty where it is gone."""
    path, folder = unopened.path, find_model(unopened.path)
    if folder is None:
        return {}
    stereo = path / "stereo" / "depth_maps"
    model = sorted(file for file in folder.iterdir() if file.suffix in (".bin", ".txt"))
    scene = path / "scene.h5"
    return {
        "map": digest_of([[file.name, digest(file)] for file in model]),
        "scene": digest(scene) if scene.is_file() else None,
        "stereo": contents(stereo) if stereo.is_dir() else None,
        "map_photographs": _photographs(unopened),
    }


def _photographs(unopened: UnopenedMap) -> str:
    names = sorted(image.name for image in unopened.model.images.values())
    paths = [unopened.image_root / name for name in names]
    return digest_of([[name, digest(path)] for name, path in zip(names, paths, strict=True) if path.is_file()])
