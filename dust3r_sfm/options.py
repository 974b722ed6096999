"""Every option of the package on one page.

The command line is generated from these dataclasses (tyro): a field is a flag, its docstring is the help text. Fields
of the classes that one command joins have different names, so that flags need no prefix.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

CameraSharing = Literal["auto", "single", "per-folder", "per-image"]
PairStrategy = Literal["auto", "exhaustive", "sequential", "retrieval", "file", "poses"]


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How photographs are found and read."""

    camera_sharing: CameraSharing = "auto"
    """Which photographs share one camera; auto: those of equal size and EXIF (without EXIF: of equal size, unless the
    sizes vary as in pictures collected from the internet)."""
    masks: Path | None = None
    """Folder of COLMAP masks: MASKS/IMG.jpg.png or MASKS/IMG.png for IMG.jpg, black pixels are ignored."""
    strict: bool = False
    """Stop at the first unreadable photograph instead of leaving it out."""


@dataclass(frozen=True, kw_only=True)
class KnownOptions:
    """What is known about the cameras beforehand; it is kept exactly."""

    intrinsics: str | None = None
    """A COLMAP model, transforms.json or poses.json (by image name); or cameras.txt, cameras.bin, K.txt or a camera
    such as PINHOLE,1200,800,fx,fy,cx,cy (for all photographs)."""
    poses: Path | None = None
    """A COLMAP model, transforms.json, poses.json or folder of 7-Scenes pose files; all photographs or some. The model
    takes their frame and scale."""
    georegister: bool = False
    """Place the model by the GPS positions in EXIF: metres east, north and up of the first photograph that has one."""
    scale_distance: tuple[str, str, float] | None = None
    """Two photographs and the distance between their cameras in metres: gives the model its scale."""


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """Which pairs of photographs are predicted."""

    pairs: PairStrategy = "auto"
    """auto: the pairs file or the posed model if one is given; otherwise all pairs up to 16 photographs, and retrieval
    above (with sequential neighbours when the names are numbered)."""
    window: int = 5
    """Sequential: neighbours on each side in name order (frame_2 before frame_10)."""
    quadratic: bool = True
    """Sequential: also neighbours at distance 1, 2, 4, 8, … up to 2^(window - 1)."""
    loop_closure: bool = True
    """Sequential: add the retrieval neighbours of each photograph."""
    num_retrieved: int = 10
    """Retrieval and poses: neighbours that each photograph chooses."""
    pairs_file: Path | None = None
    """File: a pairs.txt (two names a line, hloc's format; tab-separated where names hold blanks)."""
    pairs_poses: Path | None = None
    """Poses: a COLMAP model whose points or cameras say which photographs overlap."""


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Which predictor makes the pairwise pointmaps."""

    predictor: str = "classical"
    """Name of a predictor; `dust3r-sfm predictors` lists them."""
    weights: str | None = None
    """Checkpoint file, folder or hub id of a network predictor; the known scene of the oracle."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of a network's matrix products. auto: bfloat16 on GPUs that compute it, float32 on CPUs (of which those with
    AVX512-BF16 or AMX are faster in bfloat16)."""
    one_direction: bool = False
    """Predict each pair in one direction only: half the cost, a little less accuracy."""
    num_workers: int = 0
    """Threads of the predictor; 0: one per core. The classical one works with them, a network reads photographs with
    them (PyTorch's own threads follow OMP_NUM_THREADS)."""
    max_encoded: int = 200
    """Encoded photographs kept in memory; those of larger sets wait on disk (a network's) or are made again."""
    shard: str | None = None
    """Predict one share of the pairs only, as 2/4: the second of four. Shards may run at the same time on any machines
    that see the same folders; then run without."""
    ray: bool = False
    """Predict on a Ray cluster: the one of RAY_ADDRESS or of this machine, else this machine alone. All its machines
    must see the same folders."""


@dataclass(frozen=True, kw_only=True)
class MatchOptions:
    """Mutual nearest neighbours in 3-D between the two pointmaps of a pair."""

    match_stride: int = 6
    """Matches start from every n-th pixel of each image, so that pairs share their keypoints and tracks grow long."""
    max_matches: int = 4096
    """At most this many matches a pair, spread over the image."""
    confidence_percentile: float = 0.0
    """Ignore pixels below this percentile of a pair's confidence (pixels without information are always ignored)."""
    fine_size: int | None = None
    """Match a second time in windows of the photographs, brought to this long side (0: as large as they are), to the
    precision of their pixels. For predictors with descriptors (mast3r-512); each window costs as much as a pair."""


@dataclass(frozen=True, kw_only=True)
class AlignOptions:
    """Global alignment of the pairwise pointmaps."""

    objective: Literal["robust", "paper"] = "robust"
    """robust: Cauchy loss; paper: DUSt3R's own objective (weighted L1)."""
    model: Literal["auto", "tied", "free"] = "auto"
    """auto: pairs may deviate a little from their first camera, which is most accurate; tied: they may not, which is
    fastest; free: nothing holds them. The paper's objective is always free."""
    shared_focal: bool = True
    """Photographs of one camera group share their focal length."""
    free_principal_point: bool = False
    """The optical axis need not meet the middle of the photograph (cropped pictures); needs many views."""
    metric: bool = False
    """The predictor's pointmaps are in metres, and so is the model."""
    num_samples: int = 2000
    """Pixels of each image that take part in the alignment (depth is solved at full resolution afterwards)."""
    max_steps: int = 30
    """Gauss-Newton steps at most."""


@dataclass(frozen=True, kw_only=True)
class TrackOptions:
    """From matches to the points of the COLMAP model."""

    max_reprojection_error: float = 4.0
    """Largest reprojection error of an observation, in network pixels; images that fit well have a smaller limit."""
    min_triangulation_angle: float = 1.5
    """Smallest angle between two rays of a track, in degrees."""
    max_points: int = 200_000
    """At most this many points, long tracks first, spread over the images."""


@dataclass(frozen=True, kw_only=True)
class LocalizeOptions:
    """Localization of photographs in a map."""

    image_root: Path | None = None
    """Folder of the map's photographs; default: where the run found them, or the folder `images` beside the model."""
    geometry: Literal["auto", "points", "depth", "triangulate"] = "auto"
    """Where the map's pixels get their points from: the model's points, depth maps, or the predictor's pointmaps scaled
    by the known baselines. auto: depth maps where there are any, and points; without both triangulate."""
    depth_maps: Path | None = None
    """Folder of depth maps of the map's photographs: 16-bit PNG or TIFF, NumPy or COLMAP's .bin files."""
    depth_unit: float = 0.001
    """World units of a depth map's step: 0.001 for millimetres in metres (.npy and .bin files hold world units)."""
    retrieval_pairs: Path | None = None
    """hloc's pairs file (query, then image of the map); default: the predictor's own retrieval."""
    global_features: Path | None = None
    """hloc's global-feats file of the map and the queries, for retrieval by it."""
    num_loc: int = 20
    """Images of the map that a query is compared with."""
    clustering: bool = False
    """Localize against each group of retrieved images that share points, and keep the best (hloc's covisibility)."""
    correspondences: Literal["auto", "keypoints", "pointmaps"] = "auto"
    """How images are matched; auto: SIFT keypoints with the classical predictor, pointmaps with the others."""
    hloc_features: Path | None = None
    """hloc's feature file of queries and map, to match by `hloc_matches` instead."""
    hloc_matches: Path | None = None
    """hloc's match file of the pairs (query, image of the map)."""
    query_intrinsics: str | None = None
    """Camera of all queries, such as PINHOLE,640,480,fx,fy,cx,cy, or a model, transforms.json or poses.json that has
    them by name; a list of queries may say it for each. Without: EXIF as a start, or estimated."""
    map_cameras: bool = True
    """Try the map's cameras of the same picture size on queries without intrinsics, and keep one that explains the
    correspondences at least as well as a camera found anew."""
    query_images: Path | None = None
    """Folder that the names in a list of queries are relative to; default: that of the map's photographs."""
    frame_step: int = 30
    """Every n-th frame of a video is a query."""
    focal_from: Literal["pnp", "pointmaps"] = "pnp"
    """Where an unknown focal length comes from: the pose estimation, or the query's pointmaps, which then give the pose
    as well (relative to an image of the map, scaled to it)."""
    ransac_thresh: float | None = None
    """Largest reprojection error of an inlier in pixels; default: 12, more for queries above 1024 pixels."""
    min_confidence: float = 0.5
    """A pose with less confidence is not given: it is mostly that of a photograph of another place."""
    failed: Literal["omit", "nearest"] = "omit"
    """What RESULTS.txt says of a query without a pose: nothing, or the pose of the first retrieved image."""
    result_names: Literal["full", "parent", "base"] = "full"
    """Names in RESULTS.txt: as given, the file with its folder, or the file alone (hloc's default)."""
    batch: int = 8
    """Queries that are worked on together."""
    cache: Path | None = None
    """Folder that keeps what was computed of the map; default: `localization` in an output folder, none for others."""


@dataclass(frozen=True, kw_only=True)
class RefineOptions:
    """From aligned cameras to cameras at the precision of keypoints."""

    refine: Literal["auto", "keypoints", "pointmaps", "none"] = "auto"
    """Adjust cameras to SIFT keypoints matched where the aligned depth allows, or to the matches of the pointmaps.
    auto: keypoints, and pointmaps where keypoints do not make it better. What makes matches kept aside agree worse is
    not applied."""
    camera_model: Literal["auto", "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV"] = "auto"
    """Camera model of the refined model; auto: the simplest that matches kept aside cannot tell from a better one."""
    principal_point: Literal["auto", "refine", "keep"] = "auto"
    """Refine principal points; auto: of cameras that photographs share, where matches kept aside agree better."""
    features: Path | None = None
    """Keypoints in hloc's HDF5 format, of any extractor, in place of SIFT."""
    matches: Path | None = None
    """Matches of those keypoints in hloc's HDF5 format; without it they are matched where the aligned depth allows."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Training of a network."""

    preset: str = "224-linear"
    """Stage of the recipe: 224-linear, 512-linear, 512-dpt, mast3r-512; or of our small network: mini-128, mini."""
    data: Path | None = None
    """data.toml: the data sets to train on and to be judged by; see docs/training.md. The mini presets need
    none: theirs is a synthetic world."""
    textures: Path | None = None
    """Folder of photographs for the surfaces of the synthetic world, besides painted ones."""
    pairs_per_epoch: int | None = None
    """Pairs of the synthetic world in an epoch; default: the preset's."""
    start: str | None = None
    """Weights to start from: a file, folder, hub id or known name (CroCo, DUSt3R, a stage before); default: random."""
    resume: bool = False
    """Go on from OUT/checkpoint.pt, if there is one; the result is that of a run that was never stopped."""
    device: str = "auto"
    """auto, cpu, cuda; with torchrun each process takes its own GPU."""
    epochs: float | None = None
    """Length of the run; default: the preset's. The warm-up keeps its share."""
    learning_rate: float | None = None
    """Peak learning rate; default: the preset's."""
    batch_size: int | None = None
    """Pairs of one process in one pass; default: the preset's."""
    amp: bool = False
    """bfloat16 where it does not hurt."""
    average: float | None = None
    """Keep an exponential moving average of the weights with this decay, such as 0.999, and validate and write that."""
    compile: bool = False
    """torch.compile the network."""
    num_workers: int = 4
    """Threads that make batches."""
    save_every: int = 500
    """Steps between checkpoints."""
    seed: int = 0
    """Of the order of the data, crops, colour jitter and random start weights."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a command runs."""

    seed: int = 0
    """Two runs with the same seed on the same machine give the same model."""
    overwrite: bool = False
    """Replace what another run left in the output folder."""
    verbose: bool = False
    """Say more, and show tracebacks."""


@dataclass(frozen=True, kw_only=True)
class ReconstructOptions:
    """Options of the whole chain, stage by stage."""

    images: ImageOptions = field(default_factory=ImageOptions)
    known: KnownOptions = field(default_factory=KnownOptions)
    pairs: PairOptions = field(default_factory=PairOptions)
    predict: PredictOptions = field(default_factory=PredictOptions)
    match: MatchOptions = field(default_factory=MatchOptions)
    align: AlignOptions = field(default_factory=AlignOptions)
    tracks: TrackOptions = field(default_factory=TrackOptions)
    refine: RefineOptions = field(default_factory=RefineOptions)
    run: RunOptions = field(default_factory=RunOptions)
