"""Photographs against a map: retrieve, match, lift, solve; one at a time, or a list with files for results."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.known_cameras import known_camera
from dust3r_sfm.images.read import read_images
from dust3r_sfm.localization.fuse import Correspondences, fuse
from dust3r_sfm.localization.inputs import localization_inputs
from dust3r_sfm.localization.open_map import LocalizationMap, unopened_map
from dust3r_sfm.localization.pose import (
    PoseEstimate,
    default_max_error,
    estimate_pose,
    misfit,
    pose_confidence,
    query_camera,
    refine_pose,
)
from dust3r_sfm.localization.queries import Query, open_queries
from dust3r_sfm.localization.reference import covisible_groups
from dust3r_sfm.localization.relative import scaled_relative_pose
from dust3r_sfm.localization.results import Results
from dust3r_sfm.options import ImageOptions, LocalizeOptions, PredictorOptions, RunOptions
from dust3r_sfm.system.digest import recall, remember
from dust3r_sfm.system.progress import Progress, Silent
from dust3r_sfm.system.ranges import require_ranges
from dust3r_sfm.types import KnownCamera, Localization, Matches, View

logger = logging.getLogger("dust3r_sfm")

_BEYOND_DOUBT = 0.9
"""Confidence from which a pose is not asked about again. Chosen by hand."""

_IN_ONE_GO = 5
"""Images of the map that are matched before the pose is looked at. Chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class LocalizeSummary:
    """What a run came to.

    Attributes:
        num_queries, num_localized: counts.
        results: the text file.
        reasons: of the queries without a pose, by name.
        warnings: sentences about the map.
    """

    num_queries: int
    num_localized: int
    results: Path
    reasons: dict[str, str]
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"localized           {self.num_localized} of {self.num_queries}"]
        lines += [f"not localized       {name}: {reason}" for name, reason in list(self.reasons.items())[:5]]
        if len(self.reasons) > 5:
            lines.append(f"                    and {len(self.reasons) - 5} more, see the JSON file")
        lines += [f"warning             {sentence}" for sentence in self.warnings]
        return "\n".join([*lines, f"results             {self.results}, {self.results.with_suffix('.json')}"])


def localize(
    path: Path,
    queries: Path,
    results: Path,
    options: LocalizeOptions | None = None,
    predict: PredictorOptions | None = None,
    run: RunOptions | None = None,
    progress: Progress | None = None,
) -> LocalizeSummary:
    """Localize photographs in a map; what an interrupted run has done is not done again.

    Args:
        path: the map, see `open_map.open_map`.
        queries: a photograph, folder, list or video, see `queries.open_queries`.
        results: text file in hloc's format; a JSON file is written beside it.
        options: how to localize.
        predict: which predictor.
        run: seed, overwrite.
        progress: shows the stages; silent by default.

    Raises:
        InputError: map or queries cannot be used.
        OutputError: the results hold another run, cannot be written, or the disk is full.
    """
    options, predict = options or LocalizeOptions(), predict or PredictorOptions()
    run, progress = run or RunOptions(), progress or Silent()
    require_ranges(options, predict, run)
    unopened = unopened_map(path, options, predict, run.seed)
    listed = options.query_images is None and queries.suffix.lower() == ".txt"
    root = unopened.image_root if listed else path
    with open_queries(queries, root, options, unopened.predictor.grid) as listed_queries:
        cache = unopened.cache
        if cache is not None:
            recall(cache)
        written = Results(results, localization_inputs(unopened, listed_queries), overwrite=run.overwrite)
        waiting = [query for query in listed_queries if query.name not in written.done]
        warnings: tuple[str, ...] = ()
        if waiting:
            opened = unopened.open(progress)
            if cache is not None:
                remember(cache)
            warnings = opened.reference.warnings
            with progress.stage("localize") as step:
                for start in range(0, len(waiting), max(options.batch, 1)):
                    written.add(localize_queries(opened, waiting[start : start + max(options.batch, 1)]))
                    step(len(written.done), len(listed_queries))
        written.finish([query.name for query in listed_queries], options.result_names, options.failed)
    reasons = {query.name: written.done[query.name].reason for query in listed_queries}
    return LocalizeSummary(
        num_queries=len(listed_queries),
        num_localized=sum(not reason for reason in reasons.values()),
        results=results,
        reasons={name: reason for name, reason in reasons.items() if reason},
        warnings=warnings,
    )


def localize_image(opened: LocalizationMap, image: Path, camera: KnownCamera | None = None) -> Localization:
    """Localize one photograph in a map that is open.

    Args:
        opened: the map, as `open_map.open_map` gives it.
        image: the file.
        camera: of the photograph, where it is known.

    Raises:
        InputError: the file cannot be used, or the camera is of another size.
    """
    views = read_images(image.parent, ImageOptions(strict=True), opened.predictor.grid, [image.name]).views
    if camera is not None and camera.size != views[0].size:
        raise InputError(
            f"The camera has {camera.size} pixels but {image} has {views[0].size}; give that of the file.", path=image
        )
    return localize_queries(opened, [Query(name=image.name, view=views[0], camera=camera)])[0]


def localize_queries(opened: LocalizationMap, queries: Sequence[Query]) -> list[Localization]:
    """Localize photographs together, so that their pairs share the predictor's batches.

    Returns:
        One localization per query, in order.
    """
    usable = [query for query in queries if query.view is not None]
    views = [query.view for query in usable if query.view is not None]
    retrieved = opened.retrieval.rank(views, opened.options.num_loc)
    pairs = [(number, image) for number, images in enumerate(retrieved) for image in images]
    matches: list[list[Matches]] = [[] for _ in usable]
    for (number, _), pair_matches in zip(pairs, opened.matcher.match(views, pairs), strict=True):
        matches[number].append(pair_matches)
    localized = {}
    for query, view, images, matched in zip(usable, views, retrieved, matches, strict=True):
        found = _localize(opened, query, view, images, matched)
        localized[query.name] = _asked_again(opened, query, view, images, found)
    opened.store.forget_queries()
    if opened.doubt is not None:
        opened.doubt.forget_queries()
    return [localized.get(query.name) or Localization(name=query.name, reason=query.reason) for query in queries]


def _asked_again(
    opened: LocalizationMap, query: Query, view: View, images: Sequence[int], found: Localization
) -> Localization:
    """Match with learned features, a few images at a time, until the pose is beyond doubt; the surer pose is given."""
    matches: list[Matches] = []
    for start in range(0, len(images), _IN_ONE_GO):
        if opened.doubt is None or opened.pointmaps is not None or found.confidence >= _BEYOND_DOUBT:
            break
        matches += opened.doubt.match([view], [(0, image) for image in images[start : start + _IN_ONE_GO]])
        again = _localize(opened, query, view, images, matches)
        found = max(found, again, key=lambda each: each.confidence)
    return found


def _localize(
    opened: LocalizationMap, query: Query, view: View, images: Sequence[int], matches: Sequence[Matches]
) -> Localization:
    reference, options = opened.reference, opened.options
    known: dict[str, Any] = {"name": query.name, "camera": query.camera}
    if not images:
        return Localization(**known, reason="no image of the map is listed for it; add it to the retrieval")
    known["retrieved"] = tuple(reference.names[image] for image in images)
    known["nearest"] = reference.cam_from_world[images[0]]
    lifted = {pair_matches.image2: _lifted(opened, pair_matches) for pair_matches in matches}
    known["num_matches"] = sum(map(len, lifted.values()))
    estimate, xy = None, np.zeros((0, 2))
    if query.camera is None and opened.pointmaps is not None:
        predicted = list(opened.pointmaps.predict([view], [(0, image) for image in images]))
        scaled = scaled_relative_pose(view, reference, opened.lift, predicted, opened.seed)
        if scaled is not None:
            estimate, xy = scaled.estimate, scaled.xy
    else:
        for group in covisible_groups(reference, images) if options.clustering else [list(images)]:
            pooled = _pooled([lifted[image] for image in group if image in lifted])
            solved = _solve(opened, query, view, group, pooled)
            if solved is not None and (estimate is None or solved.num_inliers > estimate.num_inliers):
                estimate, xy = solved, pooled.xy
    return _judged(known, estimate, xy, view, options.min_confidence)


def _solve(
    opened: LocalizationMap, query: Query, view: View, images: Sequence[int], correspondences: Correspondences
) -> PoseEstimate | None:
    """The pose that correspondences with some images of the map agree on, with the camera that explains them best."""
    options, seed = opened.options, opened.seed
    max_error = options.ransac_thresh or default_max_error(view)
    camera, focal = query_camera(view, query.camera)
    best = estimate_pose(correspondences.xy, correspondences.xyz, camera, focal, max_error, seed)
    if focal != "known" and options.map_cameras:
        for camera in opened.reference.cameras(images, view.size):
            solved = estimate_pose(correspondences.xy, correspondences.xyz, camera, "known", max_error, seed)
            better = solved is not None and (
                best is None
                or misfit(solved, correspondences.xy, correspondences.xyz)
                <= misfit(best, correspondences.xy, correspondences.xyz)
            )
            best, focal = (solved, "known") if better else (best, focal)
    if best is None:
        return None
    return refine_pose(best, *fuse(opened.reference, correspondences[best.inlier]), focal)


def _judged(
    known: dict[str, Any],
    estimate: PoseEstimate | None,
    xy: Float64[np.ndarray, "m 2"],
    view: View,
    min_confidence: float,
) -> Localization:
    """Give the pose, or say why it is not believed."""
    if estimate is None:
        reason = f"no pose agrees with its {known['num_matches']} correspondences with the map"
        return Localization(**known, reason=reason)
    confidence = pose_confidence(xy, estimate.inlier, view.size)
    facts = known | {"num_inliers": estimate.num_inliers, "confidence": confidence}
    if confidence < min_confidence:
        reason = (
            f"it seems to show another place: only {estimate.num_inliers} of its {len(xy)} correspondences agree on a "
            f"pose (confidence {confidence:.2f})"
        )
        return Localization(**facts, reason=reason)
    return Localization(
        **facts | {"camera": known_camera(estimate.camera)},
        cam_from_world=estimate.cam_from_world,
        covariance=estimate.covariance,
    )


def _lifted(opened: LocalizationMap, matches: Matches) -> Correspondences:
    """The matches whose pixel in the map has a point."""
    xyz = opened.lift(matches.image2, matches.xy2)
    image = np.full(len(xyz), matches.image2, np.int64)
    return Correspondences(xy=matches.xy1, xyz=xyz, image=image)[np.isfinite(xyz).all(axis=1)]


def _pooled(lifted: Sequence[Correspondences]) -> Correspondences:
    """All correspondences; the same position with the same point counts once, as in hloc."""
    pooled = Correspondences(
        xy=np.concatenate([each.xy for each in lifted]),
        xyz=np.concatenate([each.xyz for each in lifted]),
        image=np.concatenate([each.image for each in lifted]),
    )
    _, first = np.unique(np.column_stack([pooled.xy, pooled.xyz]), axis=0, return_index=True)
    return pooled[np.sort(first)]
