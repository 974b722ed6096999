"""Options of the chain from photographs to a model, and of the commands that run a part of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

CameraSharing = Literal["auto", "single", "per-folder", "per-image"]
PairStrategy = Literal["auto", "exhaustive", "sequential", "swin", "logwin", "oneref", "retrieval", "file", "poses"]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How photographs are found and read."""

    masks: Path | None = None
    """Folder of COLMAP masks: MASKS/IMG.jpg.png or MASKS/IMG.png for IMG.jpg, black pixels are ignored."""
    strict: bool = False
    """Stop at the first unreadable photograph instead of leaving it out; end with exit code 1 on a doubtful model."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions(ReadOptions):
    """How photographs are found and read, and which of them one camera took."""

    camera_sharing: CameraSharing = "auto"
    """Which photographs share one camera; auto: those of equal size and EXIF (without EXIF: of equal size, unless the
    sizes vary as in pictures collected from the internet)."""


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How a video, or several, become photographs: the sharpest frame of each stretch of motion."""

    frames: int | None = None
    """How many frames to take, of all videos together; default: one whenever the picture has moved by 6 % of its
    diagonal."""


@dataclass(frozen=True, kw_only=True)
class KnownCameraOptions:
    """What is known about the cameras beforehand; it is kept exactly."""

    intrinsics: str | None = None
    """A COLMAP model, transforms.json or poses.json (by image name); or cameras.txt, cameras.bin, K.txt or a camera
    such as PINHOLE,1200,800,fx,fy,cx,cy (for all photographs)."""
    poses: Path | None = None
    """A COLMAP model, transforms.json, poses.json or folder of 7-Scenes pose files; all photographs or some. The model
    takes their frame and scale."""


@dataclass(frozen=True, kw_only=True)
class KnownOptions(KnownCameraOptions):
    """What is known about the cameras beforehand, and about the world that they stand in."""

    upright: bool = True
    """Models stand upright, z up: by the attitude that drones and panorama apps write, or by photographs that are held
    level; as they were aligned where neither tells. With known poses nothing is turned."""
    georegister: bool = False
    """Place and shape the model by the GPS positions in EXIF and XMP: metres east, north and up of their median."""
    gps: Path | None = None
    """Place and shape the model by a table of positions: name,lat,lon,alt[,accuracy_m], or name,x,y,z[,accuracy_m] in
    metres with z up."""
    control_points: Path | None = None
    """Place and shape the model by surveyed points: point,x,y,z,image,px,py, one mark a line; metres with z up, and
    pixels of the photograph as stored. At least three points that two photographs show."""
    scale_distance: tuple[str, str, float] | None = None
    """Two photographs and the distance between their cameras in metres: gives the model its scale."""


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """Which pairs of photographs are predicted."""

    pairs: PairStrategy = "auto"
    """auto: the pairs file, the posed model or the reference if one is given; otherwise all pairs up to 16 photographs,
    and retrieval above (with sequential neighbours when the names are numbered). swin, logwin and oneref are DUSt3R's:
    neighbours up to the window, neighbours at distance 1, 2, 4, 8, …, and one photograph with all others."""
    window: int = 5
    """Sequential and swin: neighbours on each side in name order (frame_2 before frame_10). Logwin: how many distances,
    the largest is 2^(window - 1)."""
    quadratic: bool = True
    """Sequential: also the neighbours of logwin."""
    loop_closure: bool = True
    """Sequential: add the retrieval neighbours of each photograph."""
    cyclic: bool = False
    """Neighbours in name order: the first photograph follows the last, as in a walk once around."""
    num_retrieved: int = 10
    """Retrieval and poses: neighbours that each photograph chooses."""
    pairs_file: Path | None = None
    """File: a pairs.txt (two names a line, hloc's format; tab-separated where names hold blanks)."""
    pairs_poses: Path | None = None
    """Poses: a COLMAP model whose points or cameras say which photographs overlap."""
    pairs_reference: str | None = None
    """Oneref: name of the photograph that is paired with all others; default: the first."""


@dataclass(frozen=True, kw_only=True)
class PredictorOptions:
    """Which predictor makes the pointmaps."""

    predictor: str = "classical"
    """Name of a predictor; `dust3r-sfm predictors` lists them."""
    weights: str | None = None
    """Checkpoint file, folder or hub id of a network predictor; the known scene of the oracle."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of a network's matrix products. auto: bfloat16 on GPUs that compute it, float32 on CPUs (of which those with
    AVX512-BF16 or AMX are faster in bfloat16)."""
    matcher: str = "auto"
    """Local features of what SIFT does not decide; `dust3r-sfm features` lists them. auto: aliked-lightglue where its
    weights are on this machine, else sift, that is SIFT alone."""
    matcher_weights: Path | None = None
    """Folder of your own weights of the matcher, named as the published files."""
    num_workers: int = 0
    """Threads of every pool; 0: one per core that the process may use. The classical predictor works with them, a
    network reads photographs with them (PyTorch's own threads follow OMP_NUM_THREADS)."""


@dataclass(frozen=True, kw_only=True)
class PredictOptions(PredictorOptions):
    """Which predictor makes the pointmaps of all pairs, and who does which share of the work."""

    one_direction: bool = False
    """Predict each pair in one direction only: half the cost, a little less accuracy."""
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

    objective: Literal["robust", "paper", "reference"] = "robust"
    """robust: Cauchy loss; paper: DUSt3R's, L1 weighted by confidence; reference: its code's, L1 weighted by log C."""
    model: Literal["auto", "tied", "free"] = "auto"
    """auto: pairs may deviate a little from their first camera, which is most accurate; tied: they may not, which is
    fastest; free: nothing holds them. L1 is always free."""
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
    """At most this many points with observations, long tracks first, spread over the images."""
    seed_points: int = 50_000
    """At most this many points more in dense/, for splatting trainers to start from: matches of the pointmaps that no
    track uses, spread over the images. They have no observations, so no adjustment of cameras sees them."""


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
class OutputOptions:
    """What becomes of an output folder, and how much is said."""

    overwrite: bool = False
    """Replace what another run left in the output folder."""
    verbose: bool = False
    """Say more, and show tracebacks."""


@dataclass(frozen=True, kw_only=True)
class RunOptions(OutputOptions):
    """How a command runs."""

    seed: int = 0
    """Two runs with the same seed on the same machine give the same model."""


@dataclass(frozen=True, kw_only=True)
class RefineCommand:
    """Options of refining the cameras of another program."""

    images: ImageOptions = field(default_factory=ImageOptions)
    tracks: TrackOptions = field(default_factory=TrackOptions)
    refine: RefineOptions = field(default_factory=RefineOptions)
    run: RunOptions = field(default_factory=RunOptions)


@dataclass(frozen=True, kw_only=True)
class PairsCommand:
    """Options of the chain up to the selection of pairs."""

    images: ImageOptions = field(default_factory=ImageOptions)
    video: VideoOptions = field(default_factory=VideoOptions)
    known: KnownCameraOptions = field(default_factory=KnownCameraOptions)
    pairs: PairOptions = field(default_factory=PairOptions)
    predict: PredictorOptions = field(default_factory=PredictorOptions)
    run: RunOptions = field(default_factory=RunOptions)

    def whole(self) -> "ReconstructOptions":
        """Give the options of the whole chain, the later stages' at their defaults."""
        widest = {"known": KnownOptions, "predict": PredictOptions}
        given = vars(self) | {name: kind(**vars(getattr(self, name))) for name, kind in widest.items()}
        return ReconstructOptions(**given)


@dataclass(frozen=True, kw_only=True)
class PredictCommand(PairsCommand):
    """Options of the chain up to the predictions."""

    predict: PredictOptions = field(default_factory=PredictOptions)


@dataclass(frozen=True, kw_only=True)
class AlignCommand(PredictCommand):
    """Options of the chain up to the aligned scene."""

    known: KnownOptions = field(default_factory=KnownOptions)
    align: AlignOptions = field(default_factory=AlignOptions)


@dataclass(frozen=True, kw_only=True)
class ReconstructOptions(AlignCommand):
    """Options of the whole chain, stage by stage."""

    match: MatchOptions = field(default_factory=MatchOptions)
    tracks: TrackOptions = field(default_factory=TrackOptions)
    refine: RefineOptions = field(default_factory=RefineOptions)
