"""A map made ready: its images, where their points come from, how queries are compared with them."""

import contextlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from dust3r_sfm.errors import InputError
from dust3r_sfm.features.matcher import choose_matcher
from dust3r_sfm.images.colmap_models import find_model, read_model
from dust3r_sfm.localization.correspond import KeypointMatcher, KeypointStore, Matcher, PointmapMatcher
from dust3r_sfm.localization.depths import depth_files, scene_depths
from dust3r_sfm.localization.features import FeaturePairs
from dust3r_sfm.localization.hloc_files import FileMatcher, global_retrieval, read_retrieval
from dust3r_sfm.localization.lift import DepthLift, FirstOf, Lift, PointLift
from dust3r_sfm.localization.posed import triangulated_depths
from dust3r_sfm.localization.reference import Reference, read_reference
from dust3r_sfm.localization.retrieve import ListedRetrieval, Retrieval, predictor_retrieval
from dust3r_sfm.options import LocalizeOptions, PredictorOptions
from dust3r_sfm.predictors.predictor import PairPredictor, load_predictor
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.system.progress import Progress, Silent
from dust3r_sfm.system.text import read_json

OWN_RADIUS_OF_SIDE = 0.002
"""Share of the longer side within which a model's point stands for a pixel, where there is depth for the others. Chosen
by hand."""

RADIUS_OF_SIDE = 0.01
"""The same where the model's points are all there is. Chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class LocalizationMap:
    """All that is needed to localize photographs; opening it costs, a query then is fast.

    Attributes:
        reference: the posed images.
        lift: points of their pixels.
        retrieval: ranks them for a query.
        matcher: finds correspondences with them.
        pointmaps: the matcher by pointmaps where an unknown focal length comes from them, else None.
        predictor: the predictor behind it.
        store: SIFT keypoints of the images.
        doubt: the matcher of local features for queries that SIFT leaves in doubt, or None.
        options: how to localize.
        seed: of the sampling.
    """

    reference: Reference
    lift: Lift
    retrieval: Retrieval
    matcher: Matcher
    pointmaps: PointmapMatcher | None
    predictor: PairPredictor
    store: KeypointStore
    doubt: FeaturePairs | None
    options: LocalizeOptions
    seed: int


@dataclass(frozen=True, kw_only=True)
class UnopenedMap:
    """A map that is not made ready yet; what is read of it is read once.

    Attributes:
        path: of the map.
        predictor: retrieves and matches.
        options: how to localize.
        predict: which predictor.
        seed: of the sampling.
    """

    path: Path
    predictor: PairPredictor
    options: LocalizeOptions
    predict: PredictorOptions
    seed: int

    @cached_property
    def model(self) -> Reconstruction:
        """The COLMAP model.

        Raises:
            InputError: there is none.
        """
        model: Reconstruction = read_model(self.path)
        return model

    @cached_property
    def image_root(self) -> Path:
        """Folder of the photographs.

        Raises:
            InputError: they are not beside the map.
        """
        return self.options.image_root or find_image_root(self.path, self.model)

    @property
    def cache(self) -> Path | None:
        """Folder that keeps what is computed of the map's photographs, if any."""
        return self.options.cache or (self.path / "localization" if (self.path / "scene.h5").is_file() else None)

    def open(self, progress: Progress | None = None) -> LocalizationMap:
        """Make it ready; see `open_map`."""
        options, cache = self.options, self.cache
        pixels = options.hloc_matches is None or not (options.retrieval_pairs or options.global_features)
        reference = read_reference(self.model, self.image_root, self.predictor.grid, pixels)
        lift = choose_lift(reference, self.path, self.predictor, cache, options, progress)
        return make_map(
            reference, lift, self.predictor, replace(options, cache=cache), self.predict, self.seed, progress
        )


def unopened_map(
    path: Path, options: LocalizeOptions | None = None, predict: PredictorOptions | None = None, seed: int = 0
) -> UnopenedMap:
    """Make the predictor of a map, and read nothing yet; the arguments are those of `open_map`."""
    options, predict = options or LocalizeOptions(), predict or PredictorOptions()
    predictor = load_predictor(predict, seed)
    return UnopenedMap(path=path, predictor=predictor, options=options, predict=predict, seed=seed)


def open_map(
    path: Path,
    options: LocalizeOptions | None = None,
    predict: PredictorOptions | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> LocalizationMap:
    """Open a map from disk.

    Args:
        path: output folder of `reconstruct`, or folder of a COLMAP model (with sparse/0, sparse or 0 in it).
        options: how to localize.
        predict: which predictor.
        seed: of the sampling.
        progress: shows the stages; silent by default.

    Raises:
        InputError: there is no model, its photographs are missing, it has no geometry, or files of hloc do not fit it.
    """
    return unopened_map(path, options, predict, seed).open(progress)


def make_map(
    reference: Reference,
    lift: Lift,
    predictor: PairPredictor,
    options: LocalizeOptions | None = None,
    predict: PredictorOptions | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> LocalizationMap:
    """Put a map together from posed images and their geometry, however these were read.

    Args:
        reference: the posed images.
        lift: points of their pixels.
        predictor: retrieves and matches.
        options: how to localize, and `cache`, the folder that keeps what is computed of the images; the other options
            about files of the map are not looked at.
        predict: number of workers, and the matcher of local features with its device.
        seed: of the sampling.
        progress: shows the stages.

    Raises:
        InputError: files of hloc do not fit the map.
    """
    options, predict = options or LocalizeOptions(), predict or PredictorOptions()
    store = KeypointStore(reference, options.cache, predict.num_workers)
    retrieval: Retrieval
    if options.retrieval_pairs is not None:
        retrieval = ListedRetrieval(read_retrieval(options.retrieval_pairs, reference.names))
    elif options.global_features is not None:
        retrieval = global_retrieval(options.global_features, reference)
    else:
        with (progress or Silent()).stage("map") as step:
            retrieval = predictor_retrieval(reference, predictor, store, seed, step)
    matcher: Matcher
    by_keypoints = options.correspondences == "keypoints" or (
        options.correspondences == "auto" and predictor.name == "classical"
    )
    pointmaps = PointmapMatcher(reference, predictor, options.cache)
    if options.hloc_matches is not None or options.hloc_features is not None:
        if options.hloc_matches is None or options.hloc_features is None:
            raise InputError("hloc's matches index its keypoints: give --hloc-features and --hloc-matches together.")
        matcher = FileMatcher(reference, options.hloc_features, options.hloc_matches)
    else:
        matcher = KeypointMatcher(reference, store) if by_keypoints else pointmaps
    features = choose_matcher(predict.matcher, predict.matcher_weights, predict.device)
    return LocalizationMap(
        reference=reference,
        lift=lift,
        retrieval=retrieval,
        matcher=matcher,
        pointmaps=pointmaps if options.focal_from == "pointmaps" else None,
        predictor=predictor,
        store=store,
        doubt=FeaturePairs(reference, features, options.cache)
        if features and isinstance(matcher, KeypointMatcher)
        else None,
        options=options,
        seed=seed,
    )


def choose_lift(
    reference: Reference,
    path: Path,
    predictor: PairPredictor,
    cache: Path | None,
    options: LocalizeOptions,
    progress: Progress | None = None,
) -> Lift:
    """Choose where the points of the map's pixels come from, as `options.geometry` says.

    Raises:
        InputError: the map lacks what is asked for.
        ReconstructionError: see `posed.triangulated_depths`.
    """
    model, geometry = reference.model, options.geometry
    num_points = model.num_points3D()
    stereo = path / "stereo" / "depth_maps"
    folder = options.depth_maps or (stereo if stereo.is_dir() and any(stereo.iterdir()) else None)
    scene_path = path / "scene.h5"
    if geometry == "points" and not num_points:
        raise InputError(f"The map {path} has no points; use --geometry triangulate, or give --depth-maps.", path=path)
    if geometry == "depth" and folder is None and not scene_path.is_file():
        raise InputError(f"The map {path} has no depth maps; give their folder with --depth-maps.", path=path)
    lifts: list[Lift] = []
    if geometry in ("auto", "depth") and folder is not None:
        reader = depth_files(reference, folder, options.depth_unit, _undistorted(folder))
        lifts.append(DepthLift(reference, reader))
    elif geometry in ("auto", "depth") and scene_path.is_file() and num_points:
        lifts.append(DepthLift(reference, scene_depths(reference, read_scene(scene_path))))
    elif geometry == "triangulate" or (geometry == "auto" and not num_points):
        with (progress or Silent()).stage("depth") as step:
            lifts.append(DepthLift(reference, triangulated_depths(reference, predictor, cache, step)))
    if num_points and geometry in ("auto", "points"):
        lifts = [PointLift(reference, OWN_RADIUS_OF_SIDE if lifts else RADIUS_OF_SIDE), *lifts]
    return FirstOf(lifts)


def find_image_root(path: Path, model: Reconstruction) -> Path:
    """Find the photographs of a map: where its run found them, or in a folder `images` at or above the model.

    Raises:
        InputError: they are nowhere there.
    """
    names = [image.name for image in model.images.values()]
    candidates = []
    record = path / "run.json"
    if record.is_file():
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # an incomplete record says nothing
            candidates += [path / "images", Path(read_json(record)["photographs"]["root"])]
    model_folder = (find_model(path) or path).resolve()
    candidates += [folder / "images" for folder in (path, model_folder, *list(model_folder.parents)[:2])]
    candidates += [path, *list(model_folder.parents)[:2]]
    for candidate in candidates:
        if any((candidate / name).is_file() for name in names):
            return candidate
    example = f" ({names[0]} for one)" if names else ""
    raise InputError(f"The photographs of the map {path}{example} are not beside it; give --image-root.", path=path)


def _undistorted(folder: Path) -> Reconstruction | None:
    """The model of COLMAP's workspace that depth maps belong to, if they are from one."""
    workspace = folder.parent.parent
    if folder.name == "depth_maps" and find_model(workspace / "sparse"):
        model: Reconstruction = read_model(workspace / "sparse")
        return model
    return None
