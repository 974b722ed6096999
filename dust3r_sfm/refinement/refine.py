"""Cameras at the precision of keypoints: the aligned scene says where to look, the pixels say where exactly.

The alignment compares 3-D points, whose depth is their weakest coordinate; the pixels of matches are far sharper.
Keypoints at full resolution are matched where the aligned geometry allows, triangulated, and bundle-adjusted by
pycolmap. Matches that the adjustment was not shown decide which camera model the photographs carry, and whether the
result is better than the alignment.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.colmap.model import Reconstruction
from dust3r_sfm.errors import InputError
from dust3r_sfm.features.features import Features, read_features
from dust3r_sfm.features.hloc_matches import read_hloc_matches
from dust3r_sfm.features.sift import find_features
from dust3r_sfm.options import RefineOptions
from dust3r_sfm.refinement.adjust import Freedom
from dust3r_sfm.refinement.choose_camera import with_best_lens
from dust3r_sfm.refinement.estimate import Estimate
from dust3r_sfm.refinement.held_out import epipolar_errors, is_better, split
from dust3r_sfm.refinement.match import is_rough, match_keypoints, of_weak_images, rematch_keypoints
from dust3r_sfm.system.progress import Step
from dust3r_sfm.types import Matches, Scene, View

_FIRST_LIMIT, _ROUGH_LIMIT = 5.0, 15.0
"""Reprojection error, in network pixels, up to which observations take part at first; the second for rough scenes…"""

_LIMIT, _LAST_LIMIT = 2.0, 1.5
"""…and then."""


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """What refining came to.

    Attributes:
        model: cameras and poses, in the frame and scale of the scene.
        scene: the scene with those poses and pinhole cameras, its depths rescaled to the points of each image.
        matches: keypoint matches, in raw original pixels; empty when keypoints were not used.
        sentence: what was done and what it changed, for the summary.
        applied: whether the cameras are other than the scene's.
        trust_depths: whether points that contradict the scene's depth are wrong.
    """

    model: Reconstruction
    scene: Scene
    matches: Sequence[Matches]
    sentence: str
    applied: bool
    trust_depths: bool


def refine_scene(
    scene: Scene,
    found: Sequence[Matches],
    path: Path,
    options: RefineOptions,
    step: Step = lambda done, total: None,
) -> Refinement:
    """Find keypoints, and refine the scene with them, else with the matches of the pointmaps, else not at all.

    Args:
        scene: cameras and depths of the alignment.
        found: matches of the pointmaps.
        path: file that receives the keypoints, and from which a killed run goes on.
        options: what to refine.
        step: called after each photograph, and then after each matched pair.

    Raises:
        InputError: files of features or matches cannot be used.
    """
    if options.matches and not options.features:
        raise InputError("--matches numbers the keypoints of a feature file: give it with --features.")
    if options.refine in ("none", "pointmaps"):
        return refine(scene, found, (), options, step)
    features = _features(scene.views, path, options, step)
    refinement = refine(scene, found, features, options, step)
    if options.refine == "keypoints" or refinement.applied or _all_known(scene):
        return refinement
    second = refine(scene, found, (), options, step)
    return replace(second, matches=refinement.matches, sentence=f"{refinement.sentence}; {second.sentence}")


def refine(
    scene: Scene,
    found: Sequence[Matches],
    features: Sequence[Features],
    options: RefineOptions,
    step: Step = lambda done, total: None,
) -> Refinement:
    """Move the cameras of an aligned scene to where matches agree best, if that is better for matches not shown.

    Args:
        scene: cameras and depths of the alignment; what the user gave of them stays exactly.
        found: matches of the pointmaps; images with few keypoint matches are adjusted with theirs.
        features: keypoints of every image; empty to adjust with the matches of the pointmaps alone.
        options: what to refine.
        step: called after each matched pair.
    """
    rough = is_rough(scene)
    aligned = Estimate.of(scene, trust_depths=not rough)
    matches: Sequence[Matches] = ()
    if features and options.matches:
        matches = read_hloc_matches(options.matches, scene.names, features)
    elif features and options.refine != "none":
        matches = match_keypoints(aligned, features, step)
    unchanged = Refinement(
        model=aligned.model,
        scene=scene,
        matches=matches,
        sentence="none, cameras as aligned",
        applied=False,
        trust_depths=True,
    )
    if options.refine == "none":
        return unchanged
    if _all_known(scene):
        return replace(unchanged, sentence="none, cameras are known and kept")
    weak = of_weak_images(found, matches, len(scene.names))
    shown, held_out = split([*matches, *weak])
    freedom = Freedom.of(scene)
    estimate = aligned.adjusted(shown, _ROUGH_LIMIT if rough else _FIRST_LIMIT, freedom)
    if rough:
        estimate = estimate.settled(shown, _LIMIT, freedom)
    estimate, freedom, lens = with_best_lens(estimate, shown, held_out, freedom, options, _LIMIT)
    estimate = estimate.settled(shown, _LAST_LIMIT, freedom)
    before, after = epipolar_errors(aligned.model, held_out), epipolar_errors(estimate.model, held_out)
    kind = "keypoints" if matches else "matches of the pointmaps"
    change = (
        f"median epipolar error of {np.isfinite(after).sum()} matches kept for judging "
        f"{_median(before):.2f} → {_median(after):.2f} px"
    )
    if not is_better(before, after):
        return replace(unchanged, sentence=f"not applied, {kind} do not agree better ({change})")
    if rough and features and not options.matches:
        matches = [*matches, *rematch_keypoints(estimate, features, step)]
        estimate = estimate.settled([*matches, *weak], _LAST_LIMIT, freedom)
    estimate = estimate.adjusted([*matches, *weak], _LAST_LIMIT, freedom, last=True)
    return replace(
        unchanged,
        model=estimate.model,
        scene=estimate.rescaled(),
        matches=matches,
        sentence=f"{kind}, {lens}; {change}",
        applied=True,
        trust_depths=not rough,
    )


def _features(views: Sequence[View], path: Path, options: RefineOptions, step: Step) -> list[Features]:
    if options.features:
        return read_features(options.features, views, with_descriptors=options.matches is None)
    return find_features(views, path, step)


def _all_known(scene: Scene) -> bool:
    freedom = Freedom.of(scene)
    return bool((freedom.known_cameras & freedom.known_poses)[scene.registered].all())


def _median(errors: Float64[np.ndarray, " m"]) -> float:
    finite = errors[np.isfinite(errors)]
    return float(np.median(finite)) if len(finite) else float("nan")
