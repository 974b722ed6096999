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

from dust3r_sfm.errors import InputError
from dust3r_sfm.features.features import Features, read_features
from dust3r_sfm.features.hloc_matches import read_hloc_matches
from dust3r_sfm.features.sift import find_features
from dust3r_sfm.options import RefineOptions
from dust3r_sfm.refinement.adjust import AdjustmentMask
from dust3r_sfm.refinement.choose_camera import select_camera_model
from dust3r_sfm.refinement.focal_lengths import earned, wandered, with_expected_focals
from dust3r_sfm.refinement.held_out import epipolar_errors, hold_out, is_better
from dust3r_sfm.refinement.match import (
    AlignedPairs,
    aligned_pairs,
    has_coarse_alignment,
    match_keypoints,
    of_weak_images,
    rematch_keypoints,
)
from dust3r_sfm.refinement.state import RefinementState
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.system.progress import Step, phase
from dust3r_sfm.tracks.depths import AlignedDepths
from dust3r_sfm.types import Matches, Scene, View

_FIRST_NETWORK_PX, _FIRST_COARSE_NETWORK_PX = 5.0, 15.0
"""Reprojection error up to which observations take part at first, and where the alignment is coarse; chosen by hand."""

_NEXT_NETWORK_PX, _LAST_NETWORK_PX = 2.0, 1.5
"""The same while the camera model is chosen, and from then on; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """What refining came to.

    Attributes:
        model: cameras and poses, in the frame and scale of the scene.
        depths: those of the scene, of each image rescaled to its points where the cameras were refined.
        matches: keypoint matches, in raw original pixels; empty when keypoints were not used.
        sentence: what was done and what it changed, for the summary.
        applied: whether the cameras are other than the scene's.
        trust_depths: whether points that contradict the depths are wrong.
    """

    model: Reconstruction
    depths: AlignedDepths
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
    *,
    start: RefinementState | None = None,
    matches: Sequence[Matches] | None = None,
) -> Refinement:
    """Move the cameras of an aligned scene to where matches agree best, if that is better for matches not shown.

    Args:
        scene: cameras and depths of the alignment; what the user gave of them stays exactly.
        found: matches of the pointmaps; images with few keypoint matches are adjusted with theirs.
        features: keypoints of every image; empty to adjust with the matches of the pointmaps alone.
        options: what to refine.
        step: called after each matched pair.
        start: cameras with their lenses where those of a scene, pinholes with depths, are not what is known; coarse.
        matches: of keypoints, where they are found already.
    """
    pairs, mask = aligned_pairs(scene), AdjustmentMask.of(scene)
    coarse = start is not None or has_coarse_alignment(pairs)
    start = start or RefinementState.of(scene, trust_depths=not coarse)
    matches = _matches(scene, start, pairs, features, options, step) if matches is None else matches
    if options.refine == "none":
        return _kept(start, matches, "none, cameras as aligned")
    if _all_known(scene):
        return _kept(start, matches, "none, cameras are known and kept")
    phase("adjustment")
    weak = of_weak_images(found, matches, len(scene.names))
    shown, held_out = hold_out([*matches, *weak])

    def attempt(start: RefinementState, mask: AdjustmentMask) -> tuple[RefinementState, AdjustmentMask, str]:
        state = start.adjusted(shown, _FIRST_COARSE_NETWORK_PX if coarse else _FIRST_NETWORK_PX, mask)
        if coarse:
            state = state.until_converged(shown, _NEXT_NETWORK_PX, mask)
        phase("camera model")
        state, mask, camera_model = select_camera_model(state, shown, held_out, mask, options, _NEXT_NETWORK_PX)
        return state.until_converged(shown, _LAST_NETWORK_PX, mask), mask, camera_model

    state, free, camera_model = attempt(start, mask)
    far = wandered(start, state, scene.views) & ~mask.known_cameras
    if far.any():
        kept = replace(mask, known_cameras=mask.known_cameras | far)
        other = attempt(with_expected_focals(start, scene.views, far), kept)
        if not earned(other[0], state, held_out, far):
            state, free, _ = other
            camera_model = f"{other[2]}, {far.sum()} focal lengths of EXIF, as the photographs leave them open"
    mask = free
    before, after = epipolar_errors(start.cameras, held_out), epipolar_errors(state.cameras, held_out)
    kind = "keypoints" if matches else "matches of the pointmaps"
    change = (
        f"median epipolar error of {np.isfinite(after).sum()} matches kept for judging "
        f"{_median(before):.2f} → {_median(after):.2f} px"
    )
    if len(state.tracks.xyz) == 0 or not is_better(before, after):
        return _kept(start, matches, f"not applied, {kind} do not agree better ({change})")
    if coarse and features and not options.matches:
        matches = [*matches, *rematch_keypoints(state, pairs, features, step)]
        state = state.until_converged([*matches, *weak], _LAST_NETWORK_PX, mask)
    phase("adjustment")
    state = state.adjusted([*matches, *weak], _LAST_NETWORK_PX, mask, last=True)
    return Refinement(
        model=state.model,
        depths=state.rescaled(),
        matches=matches,
        sentence=f"{kind}, {camera_model}; {change}",
        applied=True,
        trust_depths=not coarse,
    )


def _matches(
    scene: Scene,
    start: RefinementState,
    pairs: AlignedPairs,
    features: Sequence[Features],
    options: RefineOptions,
    step: Step,
) -> Sequence[Matches]:
    """Keypoint matches that the user gave or that are found; none without keypoints."""
    if features and options.matches:
        return read_hloc_matches(options.matches, scene.names, features)
    if features and options.refine != "none":
        return match_keypoints(start, pairs, features, step)
    return ()


def _kept(start: RefinementState, matches: Sequence[Matches], sentence: str) -> Refinement:
    """The cameras as they are aligned."""
    return Refinement(
        model=start.model, depths=start.depths, matches=matches, sentence=sentence, applied=False, trust_depths=True
    )


def _features(views: Sequence[View], path: Path, options: RefineOptions, step: Step) -> list[Features]:
    if options.features:
        return read_features(options.features, views, with_descriptors=options.matches is None)
    return find_features(views, path, step)


def _all_known(scene: Scene) -> bool:
    return bool((scene.known_cameras & scene.known_poses)[scene.registered].all())


def _median(errors: Float64[np.ndarray, " m"]) -> float:
    finite = errors[np.isfinite(errors)]
    return float(np.median(finite)) if len(finite) else float("nan")
