"""The value types that flow through the package: read this page, know the package.

photos → `ImageSet` → `PairGraph` → `PairPrediction` → `Scene`, `Matches` → `Tracks` → `pycolmap.Reconstruction`; of one
pair alone a `RelativePose`, of a query against a model a `Localization`

All are frozen and built by keyword. Transforms are named `target_from_source`. Camera axes: x right, y down, z forward.
Pixel (0.5, 0.5) is the centre of the first pixel (COLMAP's convention). `size` is (width, height), `shape` is
(height, width). Poses are float64, pointmaps float32. See docs/conventions.md.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

Edge = tuple[int, int]
Size = tuple[int, int]

NOTHING_KNOWN = 1.0
"""The confidence of a pixel of which nothing is known; every other confidence is greater (Wang et al. 2024, eq. 4)."""
GUESSED = 1.001
"""The highest confidence of a pixel whose depth is a guess: it fills depth maps, and no alignment heeds it. The least
above 1 that half precision keeps."""


def is_known(confidence: Float32[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """Whether anything is known of each pixel, by its confidence."""
    known: Bool[np.ndarray, "*shape"] = confidence > NOTHING_KNOWN
    return known


@dataclass(frozen=True, kw_only=True)
class KnownCamera:
    """A camera that the user gave, exactly as it was given.

    Attributes:
        model: COLMAP's name of the camera model.
        size: (width, height) of the raw pixel grid.
        params: COLMAP's parameters of the model, raw pixels.
    """

    model: str
    size: Size
    params: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class View:
    """One photograph: what the file says, and how the picture a predictor sees follows from it.

    Attributes:
        name: path relative to the image root, with forward slashes; unique in its set and the name in the COLMAP model.
        path: the file.
        size: (width, height) of the file's raw pixel grid, EXIF orientation not applied.
        orientation: EXIF orientation tag, 1 to 8 (1 when absent).
        network_size: (width, height) of the upright picture the predictor sees.
        network_from_image: homogeneous map from raw original pixels to network pixels (resize, crop and upright turn).
        focal_prior: focal length in raw original pixels from EXIF, or None.
        camera_group: photographs with equal numbers share one camera.
        mask: COLMAP mask file (black pixels are ignored), or None.
        known_intrinsics: pinhole matrix in network pixels that every stage keeps exactly, or None.
        known_cam_from_world: pose of the upright camera that every stage keeps exactly, or None.
        known_camera: the camera behind `known_intrinsics`, distortion included, as the model will hold it, or None.
    """

    name: str
    path: Path
    size: Size
    orientation: int
    network_size: Size
    network_from_image: Float64[np.ndarray, "3 3"]
    focal_prior: float | None
    camera_group: int
    mask: Path | None = None
    known_intrinsics: Float64[np.ndarray, "3 3"] | None = None
    known_cam_from_world: Float64[np.ndarray, "3 4"] | None = None
    known_camera: KnownCamera | None = None


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A photograph or image that was left out, and why (one sentence)."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """The photographs of one run, ordered by name.

    Attributes:
        root: folder that the names are relative to.
        views: the usable photographs.
        dropped: the others, with reasons.
        warnings: what the user should know about usable ones (mirrored EXIF orientation, duplicates).
    """

    root: Path
    views: tuple[View, ...]
    dropped: tuple[Dropped, ...] = ()
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.views)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the usable photographs, in order."""
        return tuple(view.name for view in self.views)


@dataclass(frozen=True, kw_only=True)
class PairGraph:
    """Which pairs of images are predicted.

    Attributes:
        num_images: number of nodes.
        edges: directed pairs (i, j); both pointmaps of an edge are in camera i's frame. Selection gives each unordered
            pair once, as i < j; prediction adds the reverse direction unless told otherwise.
        weights: one weight per edge (retrieval similarity, view overlap, or 1).
    """

    num_images: int
    edges: Int64[np.ndarray, "e 2"]
    weights: Float64[np.ndarray, " e"]


@dataclass(frozen=True, kw_only=True)
class PairPrediction:
    """What a predictor says about a directed pair (1, 2): two dense pointmaps, BOTH IN CAMERA 1'S FRAME.

    The scale is arbitrary unless the predictor is metric. Pixel (column, row) of a map stands for the network pixel
    centre (column + 0.5, row + 0.5) of its image.

    Attributes:
        points1: points of image 1's pixels in camera 1's frame (h1, w1, 3).
        confidence1: confidence of `points1`, at least 1; 1 means "nothing known here".
        points2: points of image 2's pixels in camera 1's frame (h2, w2, 3).
        confidence2: confidence of `points2`.
        descriptors1, descriptors2: optional per-pixel matching descriptors of unit length (MASt3R).
        descriptor_confidence1, descriptor_confidence2: their confidence, above 0; given with them.
    """

    points1: Float32[np.ndarray, "h1 w1 3"]
    confidence1: Float32[np.ndarray, "h1 w1"]
    points2: Float32[np.ndarray, "h2 w2 3"]
    confidence2: Float32[np.ndarray, "h2 w2"]
    descriptors1: Float32[np.ndarray, "h1 w1 d"] | None = None
    descriptors2: Float32[np.ndarray, "h2 w2 d"] | None = None
    descriptor_confidence1: Float32[np.ndarray, "h1 w1"] | None = None
    descriptor_confidence2: Float32[np.ndarray, "h2 w2"] | None = None


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Corresponding pixels of two images, in raw original pixels (COLMAP origin).

    Attributes:
        image1, image2: indices into the image set.
        xy1, xy2: corresponding positions (m, 2); equal rows of one image's positions are the same keypoint.
        confidence: one score per match, higher is better.
    """

    image1: int
    image2: int
    xy1: Float64[np.ndarray, "m 2"]
    xy2: Float64[np.ndarray, "m 2"]
    confidence: Float64[np.ndarray, " m"]

    def take(self, rows: Bool[np.ndarray, " m"] | Int64[np.ndarray, " k"]) -> "Matches":
        """Some of the matches, by mask or by index."""
        return replace(self, xy1=self.xy1[rows], xy2=self.xy2[rows], confidence=self.confidence[rows])


@dataclass(frozen=True, kw_only=True)
class RelativePose:
    """Pose of camera 2 relative to camera 1, with the focal lengths it was found with (network pixels).

    Attributes:
        image1, image2: indices into the image set.
        cam2_from_cam1: rigid transform (3, 4); its translation is in the units of the edge's pointmaps.
        focal1, focal2: focal lengths in network pixels.
        num_inliers: correspondences that agree.
        score: share of correspondences that agree, 0 to 1.
    """

    image1: int
    image2: int
    cam2_from_cam1: Float64[np.ndarray, "3 4"]
    focal1: float
    focal2: float
    num_inliers: int
    score: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All images in one frame, on the network grid; `tracks.cameras` and `tracks.depths` lead on to original pixels.

    Attributes:
        image_root: folder that the names are relative to.
        views: the images, with what the user knew of them; what is known of a registered one is in this scene exactly.
        intrinsics: pinhole matrices in network pixels (n, 3, 3).
        cam_from_world: rigid transforms into the upright camera frames (n, 3, 4).
        registered: False where an image could not be placed; its pose is then meaningless (n,).
        depths: per image, z of each network pixel in its camera's frame, world units; 0 where unknown.
        confidences: per image, confidence of each depth, at least 1.
        edges: directed pairs that were aligned (e, 2).
        world_from_edge: similarity from an edge's pointmap frame to the world, scale times rotation (e, 4, 4).
        edge_weights: final robust weight of each edge, 0 (rejected) to 1 (e,).
        edge_residuals: median point distance over depth of each edge after alignment (e,).
        edge_cycles: optional, by how much the pairwise estimates of each edge's pair miss those of the triangles that
            it is in, in the median: rotation and direction of the baseline in degrees, log of its length (e, 3); NaN
            where there is no triangle.
        covariances: optional covariance of each camera's (rotation vector, centre) about the world's axes (n, 6, 6).
        warnings: sentences for the user (images left out, weak links).
    """

    image_root: Path
    views: tuple[View, ...]
    intrinsics: Float64[np.ndarray, "n 3 3"]
    cam_from_world: Float64[np.ndarray, "n 3 4"]
    registered: Bool[np.ndarray, " n"]
    depths: tuple[Float32[np.ndarray, "_ _"], ...]
    confidences: tuple[Float32[np.ndarray, "_ _"], ...]
    edges: Int64[np.ndarray, "e 2"]
    world_from_edge: Float64[np.ndarray, "e 4 4"]
    edge_weights: Float64[np.ndarray, " e"]
    edge_residuals: Float64[np.ndarray, " e"]
    edge_cycles: Float64[np.ndarray, "e 3"] | None = None
    covariances: Float64[np.ndarray, "n 6 6"] | None = None
    warnings: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the images, in order."""
        return tuple(view.name for view in self.views)

    @cached_property
    def network_sizes(self) -> Int64[np.ndarray, "n 2"]:
        """(width, height) of the network grids."""
        return np.array([view.network_size for view in self.views], np.int64).reshape(-1, 2)

    @cached_property
    def network_from_image(self) -> Float64[np.ndarray, "n 3 3"]:
        """Maps from raw original to network pixels."""
        return np.array([view.network_from_image for view in self.views], np.float64).reshape(-1, 3, 3)

    @cached_property
    def known_cameras(self) -> Bool[np.ndarray, " n"]:
        """Images whose camera the user gave, so that nothing may change it."""
        return np.array([view.known_camera is not None for view in self.views], bool)

    @cached_property
    def known_poses(self) -> Bool[np.ndarray, " n"]:
        """Registered images whose `cam_from_world` is what the user gave, so that nothing may change it."""
        given = np.array([view.known_cam_from_world is not None for view in self.views], bool)
        return np.asarray(given & self.registered)


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """3-D points and where they are seen; flat tables, no Python object per point.

    Attributes:
        xyz: points in the world (t, 3).
        rgb: colours (t, 3).
        track_of: track index of each observation (o,).
        image_of: image index of each observation (o,).
        xy: position of each observation in raw original pixels, COLMAP origin (o, 2).
    """

    xyz: Float64[np.ndarray, "t 3"]
    rgb: UInt8[np.ndarray, "t 3"]
    track_of: Int64[np.ndarray, " o"]
    image_of: Int64[np.ndarray, " o"]
    xy: Float64[np.ndarray, "o 2"]

    def still_tracked(self, observations: Bool[np.ndarray, " o"]) -> Bool[np.ndarray, " o"]:
        """Those of some observations whose point has two of them at least."""
        lengths = np.bincount(self.track_of[observations], minlength=len(self.xyz))
        return np.asarray(observations & (lengths >= 2)[self.track_of])

    def take(self, observations: Bool[np.ndarray, " o"]) -> "Tracks":
        """Some of the observations, and the points that still have two of them, numbered anew in their order."""
        kept = self.still_tracked(observations)
        is_left = np.bincount(self.track_of[kept], minlength=len(self.xyz)) > 0
        return Tracks(
            xyz=self.xyz[is_left],
            rgb=self.rgb[is_left],
            track_of=(np.cumsum(is_left) - 1)[self.track_of[kept]],
            image_of=self.image_of[kept],
            xy=self.xy[kept],
        )


@dataclass(frozen=True, kw_only=True)
class Localization:
    """Where a query photograph was taken, or why that is not known: failure is a value.

    Attributes:
        name: of the query.
        cam_from_world: pose of the raw camera (EXIF orientation not applied) in the map's world; None: not known.
        reason: why there is no pose, one sentence; empty where there is one.
        camera: what the query was taken with, as given or as found; None where that is not known either.
        num_matches, num_inliers: correspondences between the query and points of the map, and those that agree.
        confidence: 0 to 1; near 0 for a photograph of another place.
        covariance: of (rotation vector, translation) of `cam_from_world` for errors of one pixel, (6, 6), or None.
        retrieved: names of the map's images that the query was compared with, best first.
        nearest: pose of the first of them, a guess for whoever needs one for every query.
    """

    name: str
    cam_from_world: Float64[np.ndarray, "3 4"] | None = None
    reason: str = ""
    camera: KnownCamera | None = None
    num_matches: int = 0
    num_inliers: int = 0
    confidence: float = 0.0
    covariance: Float64[np.ndarray, "6 6"] | None = None
    retrieved: tuple[str, ...] = ()
    nearest: Float64[np.ndarray, "3 4"] | None = None
