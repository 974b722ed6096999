"""The COLMAP models of a run: each part of the scene refined, what was left out registered, points triangulated."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dust3r_sfm.colmap.model import NO_TRACKS, Reconstruction, image_of_id, reconstruction_from_scene, with_points
from dust3r_sfm.features.features import Features, read_features
from dust3r_sfm.features.hloc_matches import read_hloc_matches
from dust3r_sfm.features.matched import MatchedFeatures
from dust3r_sfm.features.matcher import choose_matcher
from dust3r_sfm.features.sift import find_features
from dust3r_sfm.images.load import load_original
from dust3r_sfm.matching.scene import match_scene
from dust3r_sfm.options import ReconstructOptions
from dust3r_sfm.predictors.predictor import PairPredictor, load_predictor
from dust3r_sfm.predictors.store import PredictionStore, matches_folder
from dust3r_sfm.refinement.points import refined_points
from dust3r_sfm.refinement.refine import refine_scene
from dust3r_sfm.registration.learned import LearnedMatcher
from dust3r_sfm.registration.matcher import FirstOf, GivenMatcher, KeypointMatcher, PairMatcher
from dust3r_sfm.registration.part import Part
from dust3r_sfm.registration.register import Registration, register
from dust3r_sfm.single import tracks_from_depth
from dust3r_sfm.system.progress import Step, phase
from dust3r_sfm.types import Matches, Scene, Tracks, View

NOT_CONNECTED = "no reliable pair connects it to the model"
"""Why a photograph or a part is left out of which no match is known."""


@dataclass(frozen=True, kw_only=True)
class RefinedModel:
    """One COLMAP model of a run.

    Attributes:
        model: refined cameras and points.
        seeds: further points, for splatting.
        matches: what it was made of, in raw pixels.
        sentence: what refining the cameras came to.
        scene: the depths of its images, in its frame.
        apart: why it is not one with a greater model; empty for the greatest.
    """

    model: Reconstruction
    seeds: Tracks
    matches: list[Matches]
    sentence: str
    scene: Scene
    apart: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Its photographs, in the order of the scene's."""
        return tuple(self.scene.names[i] for i in sorted(map(image_of_id, self.model.images)))


@dataclass(frozen=True, kw_only=True)
class RefinedModels:
    """All models of a run.

    Attributes:
        models: that with most photographs first.
        left_out: {name: reason} of the photographs that are in none.
    """

    models: tuple[RefinedModel, ...]
    left_out: dict[str, str]


def refined_models(
    scenes: Sequence[Scene],
    predictions: PredictionStore,
    out: Path,
    options: ReconstructOptions,
    step: Step,
    predictor: PairPredictor | None = None,
) -> RefinedModels:
    """Match the pairs of aligned scenes, refine their cameras where that makes them better, and triangulate points.

    Photographs that no scene has placed are registered by their keypoints, and scenes joined, where that is clear.

    Args:
        scenes: the parts of the alignment, the greatest first.
        predictions: the pairs' pointmaps.
        out: folder that receives the keypoints, as features.h5.
        options: of every stage.
        step: called after each photograph and pair.
        predictor: the one of the options, where it has been made.
    """
    first, views = scenes[0], scenes[0].views
    if predictor is None and options.match.fine_size is not None:
        predictor = load_predictor(options.predict, options.run.seed)

    def found(scene: Scene) -> list[Matches]:
        return match_scene(scene, views, predictions, options.match, step, options.predict.device, predictor)

    if first.registered.sum() <= 1:
        return RefinedModels(models=(_model_of_one(first, found(first), options),), left_out=_unplaced(first))
    learned = _learned(views, predictions.path, options)
    known = learned.known() if learned is not None else []
    parts = []
    for scene in scenes:
        of_pointmaps = [*_among(scene, known), *found(scene)]
        refinement = refine_scene(scene, of_pointmaps, out / "features.h5", options.refine, step)
        parts.append(Part(scene=scene, refinement=refinement, found=of_pointmaps))
    return models_of_parts(parts, learned, out, options, step)


def models_of_parts(
    parts: Sequence[Part], learned: LearnedMatcher | None, out: Path, options: ReconstructOptions, step: Step
) -> RefinedModels:
    """Register what refined parts leave out, join parts where that is clear, and triangulate points.

    Args:
        parts: of one set of photographs, the greatest first.
        learned: asked where keypoints decide nothing.
        out: folder of features.h5.
        options: of every stage.
        step: called after each photograph.
    """
    first = parts[0].scene
    registration = _registered(parts, learned, out, options, step)
    reasons = ["", *(NOT_CONNECTED if link is None else link.of_part(first.names) for link in registration.apart)]
    return RefinedModels(
        models=tuple(_model(part, options, reason) for part, reason in zip(registration.parts, reasons, strict=True)),
        left_out={
            first.names[image]: NOT_CONNECTED if link is None else link.of_image(first.names)
            for image, link in registration.left_out.items()
        },
    )


def _learned(views: Sequence[View], predictions: Path, options: ReconstructOptions) -> LearnedMatcher | None:
    """The learned matcher of the options, with what the predictor has asked it, all shards; None: SIFT is alone."""
    predict = options.predict
    matcher = choose_matcher(predict.matcher, predict.matcher_weights, predict.device)
    if matcher is None:
        return None
    # What it asks besides stays in memory: a model depends on the predictor's pairs alone, also after a killed export.
    asked = sorted(predictions.parent.glob(f"{matches_folder(predictions).name}*"))
    matched = MatchedFeatures(matcher, views, None, predict.num_workers, known_in=asked)
    return LearnedMatcher(matched, options.run.seed)


def _among(scene: Scene, matches: Sequence[Matches]) -> list[Matches]:
    """Those between photographs that a scene has placed."""
    return [pair for pair in matches if scene.registered[pair.image1] and scene.registered[pair.image2]]


def _registered(
    parts: Sequence[Part], learned: LearnedMatcher | None, out: Path, options: ReconstructOptions, step: Step
) -> Registration:
    """Register what is left out, by the keypoints and matches that the cameras were refined on."""
    names, views = parts[0].scene.names, parts[0].scene.views
    placed = {image for part in parts for image in part.images}
    if options.refine.refine in ("none", "pointmaps"):
        missing = dict.fromkeys(set(range(len(names))) - placed)
        return Registration(parts=tuple(parts), left_out=missing, apart=(None,) * (len(parts) - 1))
    features = features_of(views, out / "features.h5", options, step)
    match: PairMatcher = KeypointMatcher(features, options.run.seed)
    if options.refine.matches is not None:
        match, features = GivenMatcher(read_hloc_matches(options.refine.matches, names, features)), []
    elif learned is not None:
        match = FirstOf([match, learned])
    return register(parts, match, features, options.run.seed)


def features_of(views: Sequence[View], path: Path, options: ReconstructOptions, step: Step) -> list[Features]:
    """The keypoints of the options, else SIFT's, kept in a file."""
    if options.refine.features is not None:
        return read_features(options.refine.features, views, with_descriptors=options.refine.matches is None)
    return find_features(views, path, step)


def _model(part: Part, options: ReconstructOptions, apart: str) -> RefinedModel:
    """The model of a part, which is apart for a reason."""
    phase("points")
    views = part.scene.views
    points = refined_points(part.refinement, part.found, options.tracks, lambda index: load_original(views[index]))
    return RefinedModel(
        model=with_points(part.refinement.model, points.tracks),
        seeds=points.seeds,
        matches=[*part.refinement.matches, *part.found],
        sentence=_sentence(part),
        scene=part.scene,
        apart=apart,
    )


def _model_of_one(scene: Scene, found: list[Matches], options: ReconstructOptions) -> RefinedModel:
    """The model of a single photograph: its points are those of its depth."""
    tracks = tracks_from_depth(scene, options.tracks.max_points, lambda index: load_original(scene.views[index]))
    model = reconstruction_from_scene(scene, tracks)
    return RefinedModel(model=model, seeds=NO_TRACKS, matches=found, sentence="one camera as it is", scene=scene)


def _unplaced(scene: Scene) -> dict[str, str]:
    return {name: NOT_CONNECTED for name, is_in in zip(scene.names, scene.registered, strict=True) if not is_in}


def _sentence(part: Part) -> str:
    """What refining came to, and what was registered afterwards."""
    aligned, added = set(np.flatnonzero(part.scene.registered).tolist()), set(part.added)
    moved = set(part.moved) & aligned
    counts = {
        "registered by keypoints": len(added - aligned),
        "of other parts joined": len((added & aligned) - moved),
        "placed anew": len(moved),
    }
    said = [f"; {count} photograph{'s' if count > 1 else ''} {what}" for what, count in counts.items() if count]
    return part.refinement.sentence + "".join(said)
