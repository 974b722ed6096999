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
class PairOptions:
    """Which pairs of photographs are predicted."""

    pairs: PairStrategy = "auto"
    """auto: the pairs file or the posed model if one is given; otherwise all pairs up to 30 photographs, and retrieval
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
    one_direction: bool = False
    """Predict each pair in one direction only: half the cost, a little less accuracy."""
    num_workers: int = 0
    """Processes or threads of the predictor; 0: one per core."""
    max_encoded: int = 200
    """Encoded photographs kept in memory; larger sets are predicted block by block."""


@dataclass(frozen=True, kw_only=True)
class MatchOptions:
    """Mutual nearest neighbours in 3-D between the two pointmaps of a pair."""

    match_stride: int = 6
    """Matches start from every n-th pixel of each image, so that pairs share their keypoints and tracks grow long."""
    max_matches: int = 4096
    """At most this many matches a pair, spread over the image."""
    confidence_percentile: float = 0.0
    """Ignore pixels below this percentile of a pair's confidence (pixels without information are always ignored)."""


@dataclass(frozen=True, kw_only=True)
class AlignOptions:
    """Global alignment of the pairwise pointmaps."""

    objective: Literal["robust", "paper"] = "robust"
    """robust: Cauchy loss; paper: DUSt3R's own objective (weighted L1)."""
    shared_focal: bool = True
    """Photographs of one camera group share their focal length."""
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
    pairs: PairOptions = field(default_factory=PairOptions)
    predict: PredictOptions = field(default_factory=PredictOptions)
    match: MatchOptions = field(default_factory=MatchOptions)
    align: AlignOptions = field(default_factory=AlignOptions)
    tracks: TrackOptions = field(default_factory=TrackOptions)
    run: RunOptions = field(default_factory=RunOptions)
