"""Photographs through a lens that no pinhole stands for: is there one, and what does it do?

The lens is the unified camera model (Geyer, Daniilidis 2000; as in Usenko, Demmel, Cremers, "The double sphere camera
model", 3DV 2018, section II.D): one focal length, and one number from 0 (pinhole) over 0.5 (stereographic) to more than
that (fisheye). Every candidate sends the matches of some pairs to rays, and the one wins that most of them agree with.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.images.known_cameras import is_strong
from dust3r_sfm.predictors.classical.pose import MAX_ERROR_NETWORK_PX, ransac_options
from dust3r_sfm.predictors.classical.sampson import CalibratedMatches, RayPairs, sampson_distances
from dust3r_sfm.predictors.classical.sift import Keypoints, match_keypoints
from dust3r_sfm.system.parallel import map_ordered
from dust3r_sfm.types import KnownCamera, View

logger = logging.getLogger("dust3r_sfm")

_WIDE_OF_SIDE = 0.6
"""Focal length by EXIF, over the longer side, above which photographs are not suspected: 22 mm of 35 mm film; phones'
main cameras have 24 mm and more. Chosen by hand."""

_MIN_IMAGES, _MIN_PAIRS, _MAX_PAIRS = 6, 6, 12
"""Photographs of one camera, and pairs of them, that tell of its lens at least; and pairs that are asked. Chosen by
hand."""

_MIN_MATCHES, _MAX_MATCHES = 60, 400
"""Matches of such a pair, at least and those that take part. Chosen by hand."""

_MIN_MOTION_OF_SIDE = 0.03
"""Median motion of a match in the picture, over the longer side: without any, every lens explains a pair. Chosen by
hand."""

_BENDS = (0.0, 0.35, 0.6)
_FOCALS_OF_SIDE = np.geomspace(0.3, 1.2, 5)
"""Candidates: the bend, and focal lengths over the longer side. Chosen by hand."""

_STEPS = ((0.12, 0.1), (0.06, 0.05), (0.03, 0.025))
"""Of the search around the best candidate: log focal length, and bend. Chosen by hand."""

_CLEARLY_OF_ERROR = 2.5
"""Mean gain of a pair's score over the best pinhole, in standard errors of that mean, from which it bends. Chosen
by hand: 4.0 and 9.2 of rendered rooms and courtyards through strong lenses, 0.4 of the avenue of Lund."""

_MIN_Z = 0.3
"""Rays further from the axis (73 degrees) take no part. Chosen by hand."""

_FISHEYE_DEGREES = 65.0
"""Angle of a corner from which the lens is written as a fisheye. Chosen by hand."""

_NUM_TRIALS = 500
"""Samples of a robust estimate at most. Chosen by hand."""

_NUM_FIT = 200
"""Radii at which a lens of COLMAP is fitted to the candidate."""


@dataclass(frozen=True)
class _Candidate:
    """Focal length over the longer side of the picture, and bend."""

    focal: float
    bend: float

    def directions(self, radius: Float64[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
        """Distance from the axis and z of the unit rays of radii over the longer side; z is 0 where there is no ray."""
        scaled = radius / self.focal
        root = 1 - (2 * self.bend - 1) * scaled**2
        z = (1 - self.bend**2 * scaled**2) / (self.bend * np.sqrt(np.maximum(root, 0)) + 1 - self.bend)
        length = np.hypot(scaled, z)
        return scaled / length, np.where(root > 0, z / length, 0.0)

    def rays(self, xy: Float64[np.ndarray, "m 2"], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Rays of network pixels with z = 1 (m, 3), and how many pixels of a pinhole one pixel is there (m,)."""
        centred = (xy - np.array(size) / 2) / max(size)
        radius = np.maximum(np.linalg.norm(centred, axis=1), 1e-9)
        across, z = self.directions(radius)
        seen = z > _MIN_Z
        tangent = across / np.where(seen, z, 1)
        further = radius * (1 + 1e-4)
        across, z = self.directions(further)
        radial = (across / np.where(seen, z, 1) - tangent) / (further - radius)
        stretch = self.focal * np.sqrt(np.maximum(radial, 1e-6) * tangent / radius)
        rays = np.column_stack([centred / radius[:, None] * tangent[:, None], np.ones(len(xy))])
        return rays, np.where(seen, stretch, np.inf)


def suspected(views: Sequence[View]) -> bool:
    """Whether EXIF leaves room for strong lenses in all cameras, and enough photographs are there to tell."""
    groups: dict[int, list[View]] = {}
    for view in views:
        groups.setdefault(view.camera_group, []).append(view)
    return all(
        len(members) >= _MIN_IMAGES
        and not any(view.known_camera for view in members)
        and any(view.focal_prior is None or view.focal_prior < _WIDE_OF_SIDE * max(view.size) for view in members)
        for members in groups.values()
    )


def find_strong_lenses(
    views: Sequence[View], keypoints: Sequence[Keypoints], seed: int, num_workers: int
) -> dict[str, KnownCamera]:
    """Find lenses that bend too much for a pinhole.

    Args:
        views: the photographs, `suspected`.
        keypoints: SIFT's, of each.
        seed: of the sampling.
        num_workers: threads.

    Returns:
        A rough lens of each photograph, by name: OPENCV, or OPENCV_FISHEYE of wide views. Empty unless all cameras have
        such a lens.
    """
    groups: dict[int, list[int]] = {}
    for index, view in enumerate(views):
        groups.setdefault(view.camera_group, []).append(index)
    found: dict[str, KnownCamera] = {}
    for members in groups.values():
        lens = _lens_of([views[index] for index in members], [keypoints[index] for index in members], seed, num_workers)
        if lens is None:
            return {}
        found |= {views[index].name: _camera(lens, views[index].size) for index in members}
    return found


def _lens_of(views: Sequence[View], keypoints: Sequence[Keypoints], seed: int, num_workers: int) -> _Candidate | None:
    """The strong lens of one camera; None where there is none or too little tells."""
    pairs = _pairs(views, keypoints)
    lens = _search(pairs, views[0].network_size, seed, num_workers) if len(pairs) >= _MIN_PAIRS else None
    if lens is None or not is_strong(_camera(lens, views[0].size)):
        return None
    logger.info("a strong lens: focal length %.2f of the longer side, bend %.2f", lens.focal, lens.bend)
    return lens


def _pairs(views: Sequence[View], keypoints: Sequence[Keypoints]) -> list[CalibratedMatches]:
    """Matches of neighbours by name that moved: those pairs whose matches moved most."""
    near = [(i, i + step) for step in (1, 2, 3) for i in range(len(views) - step)]
    found = []
    for i, j in near:
        if views[i].network_size != views[j].network_size:
            continue
        index = match_keypoints(keypoints[i], keypoints[j])
        points = CalibratedMatches(xy1=keypoints[i].xy[index[:, 0]], xy2=keypoints[j].xy[index[:, 1]])
        if len(points) >= _MIN_MATCHES:
            motion = np.median(np.linalg.norm(points.xy1 - points.xy2, axis=1)) / max(views[i].network_size)
            if motion >= _MIN_MOTION_OF_SIDE:
                kept = points.subset(np.linspace(0, len(points) - 1, min(len(points), _MAX_MATCHES)).astype(int))
                found.append((len(kept) * motion, kept))
    return [points for _, points in sorted(found, key=lambda each: -each[0])[:_MAX_PAIRS]]


def _search(
    pairs: Sequence[CalibratedMatches], size: tuple[int, int], seed: int, num_workers: int
) -> _Candidate | None:
    """The strong lens that the matches of pairs agree with clearly better than with any pinhole; None without one."""
    scores: dict[_Candidate, Float64[np.ndarray, " p"]] = {}

    def rate(candidates: Sequence[_Candidate]) -> _Candidate:
        new = [each for each in dict.fromkeys(candidates) if each not in scores]
        jobs = [(candidate, points) for candidate in new for points in pairs]
        results = list(map_ordered(lambda job: _score(job[0], job[1], size, seed), jobs, num_workers))
        scores.update(zip(new, np.array(results).reshape(len(new), len(pairs)), strict=True))
        return max(candidates, key=lambda each: float(scores[each].sum()))

    pinhole = rate([_Candidate(float(focal), 0.0) for focal in _FOCALS_OF_SIDE])
    best = rate([_Candidate(float(focal), bend) for bend in _BENDS[1:] for focal in _FOCALS_OF_SIDE])
    if scores[best].sum() <= scores[pinhole].sum():
        return None
    for by_focal, by_bend in _STEPS:
        best = rate(
            [
                _Candidate(best.focal * float(np.exp(i * by_focal)), min(max(best.bend + j * by_bend, 0.0), 0.9))
                for i in (-1, 0, 1)
                for j in (-1, 0, 1)
            ]
        )
    gains = scores[best] - scores[pinhole]
    error = float(gains.std(ddof=1)) / np.sqrt(len(gains))
    return best if gains.mean() > _CLEARLY_OF_ERROR * error else None


def _score(candidate: _Candidate, points: CalibratedMatches, size: tuple[int, int], seed: int) -> float:
    """Truncated quadratic score of a pair at its own best pose, distances in pixels of the photographs."""
    from dust3r_sfm.system._pycolmap import pycolmap

    (ray1, stretch1), (ray2, stretch2) = (candidate.rays(xy, size) for xy in (points.xy1, points.xy2))
    seen = np.isfinite(stretch1 + stretch2)
    if seen.sum() < _MIN_MATCHES // 2:
        return 0.0
    focal = candidate.focal * max(size)
    camera = pycolmap.Camera(model="SIMPLE_PINHOLE", width=size[0], height=size[1], params=[focal, 0, 0])
    options = ransac_options(MAX_ERROR_NETWORK_PX, seed)
    options.max_num_trials = _NUM_TRIALS
    estimate = pycolmap.estimate_relative_pose(camera, focal * ray1[seen, :2], camera, focal * ray2[seen, :2], options)
    if estimate is None:
        return 0.0
    pose = np.array(estimate["cam2_from_cam1"].matrix())
    length = float(np.linalg.norm(pose[:, 3]))
    if not length:
        return 0.0
    pose[:, 3] /= length
    rays = RayPairs(ray1=ray1[seen], ray2=ray2[seen], focal1=focal, focal2=focal)
    distances = sampson_distances(pose, rays) / np.sqrt(stretch1[seen] * stretch2[seen])
    return float(np.maximum(1 - (distances / MAX_ERROR_NETWORK_PX) ** 2, 0).sum())


def _camera(candidate: _Candidate, size: tuple[int, int]) -> KnownCamera:
    """The lens of COLMAP that does what a candidate does, over the whole picture (least squares)."""
    side, corner = max(size), float(np.hypot(*size)) / max(size) / 2
    radius = np.linspace(0, corner, _NUM_FIT + 1)[1:]
    across, z = candidate.directions(radius)
    angle = np.arctan2(across, z)
    valid = z > 0
    if np.degrees(angle[valid].max()) < _FISHEYE_DEGREES and valid.all():
        source, num_terms, model = across / z, 2, "OPENCV"
    else:
        source, num_terms, model = angle, 4, "OPENCV_FISHEYE"
    terms = np.stack([source ** (2 * k + 3) for k in range(num_terms)], axis=1)[valid]
    wanted = radius[valid] / candidate.focal - source[valid]
    found = np.linalg.lstsq(terms, wanted, rcond=None)[0].tolist()
    focal = candidate.focal * side
    tail = [*found, 0.0, 0.0] if model == "OPENCV" else found
    return KnownCamera(model=model, size=size, params=(focal, focal, size[0] / 2, size[1] / 2, *map(float, tail)))
