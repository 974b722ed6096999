"""Options of localization."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


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
