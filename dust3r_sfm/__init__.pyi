"""The face of the package. Type checkers read it, and so does `__init__.py`; what is not named here may change."""
# ruff: isort: skip_file

from dust3r_sfm.alignment import align as align
from dust3r_sfm.alignment import align_parts as align_parts
from dust3r_sfm.alignment.diagnosis import diagnose as diagnose
from dust3r_sfm.colmap.model import (
    read_model as read_model,
    reconstruction_from_scene as reconstruction_from_scene,
    write_model as write_model,
)
from dust3r_sfm.dense.densify import densify as densify
from dust3r_sfm.dense.workspace import write_workspace as write_workspace
from dust3r_sfm.depth import estimate_depth as estimate_depth
from dust3r_sfm.errors import (
    Dust3rSfmError as Dust3rSfmError,
    ImageError as ImageError,
    InputError as InputError,
    OutputError as OutputError,
    PredictorError as PredictorError,
    ReconstructionError as ReconstructionError,
    SampleError as SampleError,
    TrainingError as TrainingError,
    WeightsError as WeightsError,
)
from dust3r_sfm.evaluation.depth import evaluate_depth as evaluate_depth
from dust3r_sfm.evaluation.multiview import evaluate_multiview as evaluate_multiview
from dust3r_sfm.evaluation.poses import evaluate_poses as evaluate_poses
from dust3r_sfm.export import export as export
from dust3r_sfm.extend import extend as extend
from dust3r_sfm.features.features import Features as Features
from dust3r_sfm.features.matcher import (
    FeatureMatcher as FeatureMatcher,
    MatcherInfo as MatcherInfo,
    list_matchers as list_matchers,
    load_matcher as load_matcher,
)
from dust3r_sfm.images.load import load_original as load_original
from dust3r_sfm.images.read import read_images as read_images
from dust3r_sfm.localization.localize import localize as localize, localize_image as localize_image
from dust3r_sfm.localization.open_map import open_map as open_map
from dust3r_sfm.matching.scene import match_scene as match_scene
from dust3r_sfm.network import load_network as load_network
from dust3r_sfm.options import (
    AlignOptions as AlignOptions,
    ImageOptions as ImageOptions,
    KnownCameraOptions as KnownCameraOptions,
    KnownOptions as KnownOptions,
    LocalizeOptions as LocalizeOptions,
    MatchOptions as MatchOptions,
    OutputOptions as OutputOptions,
    PairOptions as PairOptions,
    PredictOptions as PredictOptions,
    PredictorOptions as PredictorOptions,
    ReadOptions as ReadOptions,
    ReconstructOptions as ReconstructOptions,
    RefineCommand as RefineCommand,
    RefineOptions as RefineOptions,
    RunOptions as RunOptions,
    TrackOptions as TrackOptions,
    TrainOptions as TrainOptions,
    VideoOptions as VideoOptions,
)
from dust3r_sfm.pairs.select import pairs_exhaustive as pairs_exhaustive, select_pairs as select_pairs
from dust3r_sfm.pose import relative_pose as relative_pose
from dust3r_sfm.predictors.predictor import check_predictor as check_predictor, load_predictor as load_predictor
from dust3r_sfm.predictors.run import predict_pairs as predict_pairs
from dust3r_sfm.predictors.store import PredictionStore as PredictionStore
from dust3r_sfm.reconstruct import reconstruct as reconstruct
from dust3r_sfm.refine_cameras import refine_cameras as refine_cameras
from dust3r_sfm.scene_file import read_scene as read_scene
from dust3r_sfm.scene_file import read_scenes as read_scenes
from dust3r_sfm.scene_points import confidence_mask as confidence_mask, world_points as world_points
from dust3r_sfm.tracks.build import build_tracks as build_tracks
from dust3r_sfm.types import (
    ControlPoints as ControlPoints,
    Dropped as Dropped,
    ImageSet as ImageSet,
    KnownCamera as KnownCamera,
    Localization as Localization,
    Matches as Matches,
    PairGraph as PairGraph,
    PairPrediction as PairPrediction,
    Positions as Positions,
    Priors as Priors,
    RelativePose as RelativePose,
    Scene as Scene,
    Tracks as Tracks,
    View as View,
)

__version__: str
