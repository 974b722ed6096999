"""The figures of a finished model, from its own files."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.alignment.diagnosis import diagnose
from dust3r_sfm.alignment.doubt import FOLDED
from dust3r_sfm.colmap.camera_models import cameras_of
from dust3r_sfm.colmap.model import Reconstruction, image_of_id
from dust3r_sfm.features.features import Features
from dust3r_sfm.tracks.cameras import PosedCameras
from dust3r_sfm.tracks.keypoints import keypoint_rows
from dust3r_sfm.types import Scene
from dust3r_sfm.verdict.facts import ModelFacts
from dust3r_sfm.verdict.pairs import CheckedPair, check_pairs

_CONTRADICTING_OF_MATCHES = 0.3
"""Share of a pair's verified matches that must agree with the cameras; chosen by hand."""

_USUAL_QUANTILE, _LOUD_OF_USUAL = 0.9, 0.3
"""A pair is heard that has so many verified matches, over those of the pairs with many. Chosen by hand, looking at fox:
where chance or a repeated pattern made matches agree, pairs have a quarter at most."""

_MAX_TURN_DEGREES = 45.0
"""Angle at a point between two views, above which they hardly show the same; chosen by hand."""

_SHARED_OF_POINTS = 0.3
"""Share of the points of either photograph that the other has in view, from which the model says that they show the
same. Equal sides of a building match, too, without a word against a model that has them apart. Chosen by hand."""

_MAX_NUM_NAMES = 3
"""Contradicting pairs that are named; chosen by hand."""

_CELLS = 4
"""Cells of a picture in each direction, whose errors are averaged; chosen by hand."""

_MIN_IN_CELL = 20
"""Observations of a cell whose average says something; chosen by hand."""


def measure(model: Reconstruction, scene: Scene, features: Sequence[Features], seed: int) -> ModelFacts:
    """Measure a model.

    Args:
        model: the model; image ids are those of `colmap.model.id_of_image`.
        scene: its alignment.
        features: keypoints of every image of the scene; empty without any.
        seed: of the sampling.
    """
    cameras = cameras_of(model, len(scene.names))
    seen = _observations(model, cameras)
    checked = check_pairs(cameras, features, seed) if features else []
    usual = float(np.quantile([len(pair.errors) for pair in checked], _USUAL_QUANTILE)) if checked else 0.0
    pairs: list[CheckedPair] = []
    apart: list[CheckedPair] = []
    for pair in checked:
        (pairs if _share_a_view(seen, cameras, *pair.pair) else apart).append(pair)
    diagnosis = diagnose(scene)
    ratios, sides = _focals(cameras, scene)
    held = np.isfinite(diagnosis.cycles[:, 0]) & (diagnosis.weights > 0)
    within = scene.registered[diagnosis.pairs].all(1)
    counts = np.array([image.num_points3D for image in model.images.values()])
    facts = ModelFacts(
        num_given=len(scene.names),
        num_registered=int(cameras.posed.sum()),
        observations_per_image=float(np.median(counts)) if len(counts) else 0.0,
        num_alike_pairs=sum(_contradicts(pair, usual) for pair in apart),
        residual_pattern=_pattern(seen),
        parallax_degrees=_parallax(seen, cameras),
        focal_over_exif=max(ratios, key=lambda ratio: abs(np.log(ratio)), default=None),
        focal_of_side=min(sides, default=None),
        num_aligned_pairs=int(within.sum()),
        num_rejected_pairs=int((within & (diagnosis.weights == 0)).sum()),
        cycle_degrees=float(np.median(diagnosis.cycles[held, 0])) if held.any() else None,
        folded=any(sentence.startswith(FOLDED) for sentence in scene.warnings),
        known_cameras=bool(scene.known_cameras[scene.registered].all()),
    )
    return _with_pairs(facts, pairs, usual, model, scene) if features else facts


def _with_pairs(
    facts: ModelFacts, pairs: Sequence[CheckedPair], usual: float, model: Reconstruction, scene: Scene
) -> ModelFacts:
    """Add what verified matches say."""
    if not pairs:
        return replace(facts, num_verified_pairs=0)
    wrong = [pair for pair in pairs if _contradicts(pair, usual)]
    wrong.sort(key=lambda pair: (pair.agreeing - 1) * len(pair.errors))
    errors, free = (np.concatenate([getattr(pair, name) for pair in pairs]) for name in ("errors", "free"))
    places = {
        image_of_id(image_id): np.array([point.xy for point in image.points2D if point.has_point3D()]).reshape(-1, 2)
        for image_id, image in model.images.items()
    }
    agreeing, kept = 0, 0
    for pair in pairs:
        agrees = pair.errors <= pair.limit
        ends = [
            keypoint_rows(places[image], xy[agrees]) >= 0
            for image, xy in zip(pair.pair, (pair.xy1, pair.xy2), strict=True)
        ]
        agreeing, kept = agreeing + int(agrees.sum()), kept + int((ends[0] & ends[1]).sum())
    return replace(
        facts,
        num_verified_pairs=len(pairs),
        num_contradicting_pairs=len(wrong),
        contradicting=tuple(" and ".join(scene.names[i] for i in pair.pair) for pair in wrong[:_MAX_NUM_NAMES]),
        agreeing=agreeing / len(errors),
        error_px=float(np.median(errors)),
        error_of_side=float(np.median(np.concatenate([pair.errors / pair.side for pair in pairs]))),
        free_error_px=float(np.median(free)),
        kept=kept / agreeing if agreeing else None,
    )


def _contradicts(pair: CheckedPair, usual: float) -> bool:
    """Whether many matches of a pair mostly miss its cameras."""
    return pair.agreeing < _CONTRADICTING_OF_MATCHES and len(pair.errors) >= _LOUD_OF_USUAL * usual


Observations = dict[str, np.ndarray]
"""Of all points: `point`, `image`, `place` in the picture (0 to 1), `residual` in raw pixels, `ray` from the camera,
`xyz` of the point."""


def _observations(model: Reconstruction, cameras: PosedCameras) -> Observations:
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("point", "image", "place", "residual", "ray", "xyz")}
    for image_id, image in model.images.items():
        index, camera = image_of_id(image_id), model.cameras[image.camera_id]
        points = [(point.xy, point.point3D_id) for point in image.points2D if point.has_point3D()]
        if not points:
            continue
        xy = np.array([point[0] for point in points])
        xyz = np.array([model.points3D[point[1]].xyz for point in points])
        pose = cameras.cam_from_world[index]
        local = xyz @ pose[:, :3].T + pose[:, 3]
        shown = np.asarray(camera.img_from_cam(local), np.float64).reshape(-1, 2)
        rays = xyz + pose[:, :3].T @ pose[:, 3]
        parts["point"].append(np.array([point[1] for point in points], np.int64))
        parts["image"].append(np.full(len(xy), index))
        parts["place"].append(xy / (camera.width, camera.height))
        parts["residual"].append(xy - shown)
        parts["xyz"].append(xyz)
        parts["ray"].append(rays / np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-12))
    return {name: np.concatenate(each) if each else np.zeros(0) for name, each in parts.items()}


def _share_a_view(seen: Observations, cameras: PosedCameras, first: int, second: int) -> bool:
    """Whether the model has enough points of one photograph in view of the other, from a similar direction."""
    for image, other in ((first, second), (second, first)):
        own = seen["image"] == image
        if not own.any():
            continue
        rays, xyz = seen["ray"][own], seen["xyz"][own]
        pose, matrix = cameras.cam_from_world[other], cameras.matrices[other]
        local = xyz @ pose[:, :3].T + pose[:, 3]
        there = xyz + pose[:, :3].T @ pose[:, 3]
        cosine = (rays * there).sum(1) / np.maximum(np.linalg.norm(there, axis=1), 1e-12)
        pixels = (local @ matrix.T)[:, :2] / np.where(local[:, 2:] > 0, local[:, 2:], np.nan)
        with np.errstate(invalid="ignore"):
            inside = (pixels >= 0).all(1) & (pixels < cameras.sizes[other]).all(1)
        if (inside & (cosine > np.cos(np.radians(_MAX_TURN_DEGREES)))).mean() > _SHARED_OF_POINTS:
            return True
    return False


def _pattern(seen: Observations) -> float | None:
    """Root mean square of the cells' mean errors, less what chance gives them, over the median error."""
    if len(seen["point"]) < _MIN_IN_CELL:
        return None
    lengths = np.linalg.norm(seen["residual"], axis=1)
    known = np.isfinite(lengths) & (seen["place"] >= 0).all(1) & (seen["place"] < 1).all(1)
    residual, usual = seen["residual"][known], float(np.median(lengths[known]))
    cell = (seen["place"][known] * _CELLS).astype(int) @ (1, _CELLS)
    squares, weights = [], []
    for number in np.unique(cell):
        inside = residual[cell == number]
        if len(inside) >= _MIN_IN_CELL:
            chance = inside.var(axis=0).sum() / len(inside)
            squares.append(float((inside.mean(axis=0) ** 2).sum() - chance))
            weights.append(len(inside))
    if not squares or usual <= 0:
        return None
    return float(np.sqrt(max(np.average(squares, weights=weights), 0.0)) / usual)


def _parallax(seen: Observations, cameras: PosedCameras) -> float | None:
    """Largest angle between the first view of a point and another, in the median."""
    if not len(seen["point"]):
        return None
    order = np.argsort(seen["point"], kind="stable")
    point, ray = seen["point"][order], seen["ray"][order]
    first = np.flatnonzero(np.diff(point, prepend=point[0] - 1))
    of_point = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(point))))
    cosine = (ray * ray[first[of_point]]).sum(1)
    least = np.ones(len(first))
    np.minimum.at(least, of_point, cosine)
    return float(np.degrees(np.median(np.arccos(np.clip(least, -1, 1)))))


def _focals(cameras: PosedCameras, scene: Scene) -> tuple[list[float], list[float]]:
    """Focal lengths over those of EXIF, and over the longer sides, of the posed images."""
    focals: Float64[np.ndarray, " n"] = cameras.matrices[:, (0, 1), (0, 1)].mean(axis=1)
    posed = np.flatnonzero(cameras.posed).tolist()
    ratios = [float(focals[i] / prior) for i in posed if (prior := scene.views[i].focal_prior) is not None]
    return ratios, [float(focals[i] / max(scene.views[i].size)) for i in posed]
