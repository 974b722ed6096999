"""A folder of photographs, depth maps and cameras as a source of training pairs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from dust3r_sfm.errors import ImageError, InputError, SampleError
from dust3r_sfm.images.known_cameras import read_intrinsics
from dust3r_sfm.images.known_poses import read_poses
from dust3r_sfm.images.load import load_original
from dust3r_sfm.images.read import read_images
from dust3r_sfm.options import ImageOptions
from dust3r_sfm.training.datasets.covisible import mine_pairs, overlaps
from dust3r_sfm.training.datasets.depth_files import SUFFIXES, read_depth
from dust3r_sfm.training.datasets.source import ViewPair
from dust3r_sfm.training.view import TrainingView
from dust3r_sfm.types import View


class FolderSource:
    """Photographs whose depth maps have the same size, with poses and intrinsics from any file that `--poses` reads.

    Args:
        images: folder of the photographs.
        depths: folder of the depth maps, named as the photographs with another suffix (IMG.npy for IMG.jpg), or as
            7-Scenes does (frame-000000.depth.png for frame-000000.color.png).
        cameras: COLMAP model, transforms.json or poses.json with poses and intrinsics of all photographs.
        poses: where the poses stand, if not there; a folder of frame-*.pose.txt for example.
        unit: values of a depth .png that make one unit of the poses.
        metric: the poses are in metres.
        margin: see `PairSource`.

    Raises:
        InputError: a folder is missing, or no photograph has a depth map and a camera, or none overlap.
    """

    def __init__(
        self,
        images: Path,
        depths: Path,
        cameras: Path | str,
        poses: Path | None = None,
        *,
        unit: float = 1000.0,
        metric: bool = False,
        margin: int = 16,
    ) -> None:
        if not depths.is_dir():
            raise InputError(f"There is no folder of depth maps {depths}; correct the path.", path=depths)
        self.name, self.margin = images.resolve().name, margin
        self._unit, self._metric = unit, metric
        views = read_images(images, ImageOptions()).views
        self._depth_of = {view.name: path for view in views if (path := _depth_file(depths, view.name)) is not None}
        posed, _ = read_poses(poses or Path(cameras), [view.name for view in views])
        known, _ = read_intrinsics(str(cameras), views)
        self._views = [
            view for view in views if view.name in self._depth_of and view.name in posed and view.name in known
        ]
        if len(self._views) < 2:
            raise InputError(
                f"Only {len(self._views)} of {len(views)} photographs in {images} have a depth map in {depths} and a "
                "camera; training needs pairs.",
                path=images,
            )
        self._poses = posed
        self._intrinsics = {name: _pinhole(camera.model, camera.params) for name, camera in known.items()}
        self._pairs = self._mine()

    def __len__(self) -> int:
        """Number of pairs that overlap."""
        return len(self._pairs)

    def pair(self, index: int, rng: np.random.Generator) -> ViewPair:
        """Read one pair."""
        first, second = self._pairs[index].tolist()
        return self._read(self._views[first]), self._read(self._views[second])

    def _mine(self) -> Int64[np.ndarray, "p 2"]:
        usable, rows = [], []
        for row, view in enumerate(self._views):
            try:
                usable.append(self._read(view, with_pixels=False))
                rows.append(row)
            except SampleError:
                continue  # it is counted and named when it is drawn
        pairs = np.array(rows, dtype=np.int64)[mine_pairs(overlaps(usable))] if rows else np.zeros((0, 2), np.int64)
        if not len(pairs):
            raise InputError(f"No two photographs of {self.name} see the same surfaces; check depth maps and poses.")
        return pairs

    def _read(self, view: View, with_pixels: bool = True) -> TrainingView:
        depth = read_depth(self._depth_of[view.name], self._unit)
        if depth.shape != view.size[::-1]:
            raise SampleError(
                f"{self._depth_of[view.name]} has {depth.shape[1]} × {depth.shape[0]} values for the "
                f"{view.size[0]} × {view.size[1]} pixels of {view.name}."
            )
        try:
            pixels = load_original(view) if with_pixels else np.zeros((*depth.shape, 3), np.uint8)
        except ImageError as error:
            raise SampleError(str(error), path=error.path) from error
        return TrainingView(
            name=view.name,
            pixels=pixels,
            depth=depth,
            intrinsics=self._intrinsics[view.name],
            cam_from_world=self._poses[view.name],
            metric=self._metric,
        )


def _pinhole(model: str, params: Sequence[float]) -> Float64[np.ndarray, "3 3"]:
    """The pinhole part of a COLMAP camera; what is left of the distortion after `read_intrinsics` is small."""
    one_focal = model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")
    fx, fy, cx, cy = (params[0], *params[:3]) if one_focal else params[:4]
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _depth_file(depths: Path, name: str) -> Path | None:
    def candidates() -> Iterator[Path]:
        stem = Path(name).with_suffix("")
        for base in (stem, Path(f"{str(stem).removesuffix('.color')}.depth")):
            for suffix in SUFFIXES:
                yield depths / f"{base}{suffix}"
                yield depths / f"{base.name}{suffix}"

    return next((path for path in candidates() if path.is_file()), None)
