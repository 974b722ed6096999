"""Maps and queries of the localization benchmark, from photographs with known cameras."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import DATA
from dust3r_sfm.colmap.model import read_model
from dust3r_sfm.geometry.procrustes import similarity
from dust3r_sfm.geometry.transforms import centres
from dust3r_sfm.images.known_cameras import read_intrinsics
from dust3r_sfm.images.known_poses import read_poses
from dust3r_sfm.images.read import read_images
from dust3r_sfm.localization.depths import depth_files
from dust3r_sfm.localization.lift import DepthLift
from dust3r_sfm.localization.open_map import LocalizationMap, make_map, open_map
from dust3r_sfm.localization.posed import triangulated_depths
from dust3r_sfm.localization.queries import Query
from dust3r_sfm.localization.reference import model_of_poses, read_reference
from dust3r_sfm.options import ImageOptions, LocalizeOptions, PredictOptions
from dust3r_sfm.predictors.predictor import load_predictor
from dust3r_sfm.types import KnownCamera, View

ONE_THREAD = PredictOptions(num_workers=1)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A map and photographs that are not in it.

    Attributes:
        opened: the map.
        views, cameras, truth: the queries, their cameras and their poses in the map's world, by name.
        unit: world units of 1 in the table: a metre, or the extent of all cameras.
    """

    opened: LocalizationMap
    views: Sequence[View]
    cameras: Mapping[str, KnownCamera]
    truth: Mapping[str, np.ndarray]
    unit: float

    def queries(self, *, known: bool) -> list[Query]:
        """The queries, with or without their cameras."""
        return [
            Query(name=view.name, view=view, camera=self.cameras[view.name] if known else None) for view in self.views
        ]


def kitchen(num_loc: int, *, within: bool) -> Case:
    """7-Scenes red kitchen, depth of the sensor: the queries of the second half, or every other image of the map."""
    root = DATA / "7scenes_redkitchen"
    names, queries = ((root / f"{kind}.txt").read_text(encoding="utf-8").split() for kind in ("mapping", "query"))
    if within:
        names, queries = names[::2], names[1::2]
    return _posed(root, root, names, queries, num_loc, root / "depth_color")


def posed_photographs(name: str, num_loc: int) -> Case:
    """Every other photograph with its known pose, and nothing else, as the map."""
    root = DATA / name
    names = _names(root)
    return _posed(root, root / "images", names[::2], names[1::2], num_loc, None)


def reconstructed(name: str, folder: Path, num_loc: int, *, known: bool) -> Case:
    """Every other photograph, reconstructed into `folder` unless it was, as the map.

    Args:
        name: of the set.
        folder: for the photographs and the model.
        num_loc: retrieved images.
        known: whether the reconstruction is told the cameras.
    """
    root, out = DATA / name, folder / f"{name}-{'known' if known else 'unknown'}"
    names, mapping = _names(root), folder / name
    mapping.mkdir(parents=True, exist_ok=True)
    for each in names[::2]:
        if not (mapping / each).exists():
            (mapping / each).symlink_to((root / "images" / each).resolve())
    if not (out / "sparse").is_dir():
        cameras = ["--intrinsics", str(root / "poses.json")] if known else []
        command = [sys.executable, "-m", "dust3r_sfm.cli", "reconstruct", str(mapping), str(out), *cameras]
        subprocess.run(command, check=True, stdout=sys.stderr)
    opened = open_map(out, LocalizeOptions(num_loc=num_loc), ONE_THREAD)
    truth, _ = read_poses(root / "poses.json", names)
    model = {image.name: np.asarray(image.cam_from_world().matrix()) for image in read_model(out).images.values()}
    truth_from_map = similarity(
        centres(np.stack(list(model.values()))), centres(np.stack([truth[each] for each in model]))
    )
    scale = float(np.cbrt(np.linalg.det(truth_from_map[:3, :3])))
    moved = {each: pose @ truth_from_map / scale for each, pose in truth.items()}
    views, cameras_of = _queries(root, root / "images", names[1::2])
    return Case(
        opened=opened,
        views=views,
        cameras=cameras_of,
        truth={each: moved[each] for each in names[1::2]},
        unit=_extent(moved),
    )


def elsewhere(sets: Sequence[str]) -> list[Query]:
    """Photographs of other places, without cameras."""
    views = [view for name in sets for view in read_images(DATA / name / "images", ImageOptions()).views]
    return [Query(name=str(view.path), view=view) for view in views]


def _posed(
    root: Path, images: Path, names: Sequence[str], queries: Sequence[str], num_loc: int, depth: Path | None
) -> Case:
    poses, _ = read_poses(root / "poses.json", [*names, *queries])
    _, cameras = _queries(root, images, names)
    reference = read_reference(model_of_poses(cameras, {name: poses[name] for name in names}), images)
    predictor = load_predictor(ONE_THREAD, 0)
    read = triangulated_depths(reference, predictor, None) if depth is None else depth_files(reference, depth, 0.001)
    opened = make_map(
        reference, DepthLift(reference, read), predictor, LocalizeOptions(num_loc=num_loc), predict=ONE_THREAD
    )
    views, cameras = _queries(root, images, queries)
    truth = {name: poses[name] for name in queries}
    return Case(opened=opened, views=views, cameras=cameras, truth=truth, unit=_extent(poses) if depth is None else 1.0)


def _queries(root: Path, images: Path, names: Sequence[str]) -> tuple[Sequence[View], Mapping[str, KnownCamera]]:
    views = read_images(images, ImageOptions(), names=names).views
    return views, read_intrinsics(str(root / "poses.json"), views)[0]


def _names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "images").iterdir())


def _extent(poses: Mapping[str, np.ndarray]) -> float:
    centre = centres(np.stack(list(poses.values())))
    return float(np.linalg.norm(centre[:, None] - centre[None], axis=-1).max())
