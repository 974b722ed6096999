"""The map's images: a COLMAP model, and its photographs as views."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.known import add_known
from dust3r_sfm.images.known_cameras import colmap_camera, known_camera
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.resize import DEFAULT_GRID, Grid, network_grid
from dust3r_sfm.options import ImageOptions
from dust3r_sfm.pairs.graph import component_labels
from dust3r_sfm.system._pycolmap import Reconstruction
from dust3r_sfm.system.names import refuse_unsafe_name
from dust3r_sfm.types import ImageSet, KnownCamera, Size, View

_NUM_CAMERAS = 3
"""So many cameras are tried on a query; photographs of one camera each would be as many as the images. Chosen by
hand."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The posed images of a map.

    Attributes:
        model: the COLMAP model, with or without points.
        views: its images with a pose, ordered by name; camera and pose are known.
        image_ids: their ids in the model.
        cam_from_world: their raw poses (n, 3, 4).
        warnings: sentences about images that were left out.
    """

    model: Reconstruction
    views: tuple[View, ...]
    image_ids: tuple[int, ...]
    cam_from_world: Float64[np.ndarray, "n 3 4"]
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the images, in order."""
        return tuple(view.name for view in self.views)

    def image(self, index: int) -> Any:
        """The `pycolmap.Image`."""
        return self.model.image(self.image_ids[index])

    def cameras(self, indices: Sequence[int], size: Size) -> list[Any]:
        """The distinct `pycolmap.Camera` of some images whose pictures have a size, those of most images first."""
        count = Counter(self.image(index).camera_id for index in indices if self.views[index].size == size)
        return [self.model.camera(camera_id) for camera_id, _ in count.most_common(_NUM_CAMERAS)]

    def observations(self, index: int) -> tuple[Float64[np.ndarray, "k 2"], Float64[np.ndarray, "k 3"]]:
        """Where an image observes the model's points: raw pixels, and the points in the world."""
        seen = self.image(index).get_observation_points2D()
        xy = np.array([point.xy for point in seen], np.float64).reshape(-1, 2)
        return xy, np.array([self.model.point3D(point.point3D_id).xyz for point in seen], np.float64).reshape(-1, 3)

    def rays(self, index: int, xy: Float64[np.ndarray, "m 2"]) -> Float64[np.ndarray, "m 2"]:
        """First two components of the rays (z = 1) of an image's raw pixels, distortion taken out."""
        return np.asarray(self.image(index).camera.cam_from_img(np.ascontiguousarray(xy)), np.float64).reshape(-1, 2)

    def to_world(self, index: int, points: Float64[np.ndarray, "m 3"]) -> Float64[np.ndarray, "m 3"]:
        """Move points from an image's camera frame to the world."""
        pose = self.cam_from_world[index]
        moved: Float64[np.ndarray, "m 3"] = (points - pose[:, 3]) @ pose[:, :3]
        return moved


def read_reference(model: Reconstruction, root: Path, grid: Grid = DEFAULT_GRID, pixels: bool = True) -> Reference:
    """Take the images of a model that have a pose and, where pixels are needed, a photograph that can be read.

    Args:
        model: any COLMAP model.
        root: folder that its names are relative to.
        grid: network grid of the predictor.
        pixels: False when nobody will look at the photographs (matches come from files): they may be missing then.

    Raises:
        InputError: no image has a pose, two have the same name, a name leads out of the folder, no photograph is
            there, or the model's camera has another size than the file.
    """
    posed = sorted((image for image in model.images.values() if image.has_pose), key=lambda image: image.name)
    if not posed:
        raise InputError("The map has no image with a pose; give a model whose images are registered.")
    by_name = {image.name: image for image in posed}
    if len(by_name) < len(posed):
        twice = next(a.name for a, b in pairwise(posed) if a.name == b.name)
        raise InputError(f"The map holds two images called {twice}; names must differ.")
    for name in by_name:
        refuse_unsafe_name(name, root)
    cameras = {name: known_camera(image.camera) for name, image in by_name.items()}
    poses = {name: np.asarray(image.cam_from_world().matrix()) for name, image in by_name.items()}
    images = _with_pixels(root, list(by_name), grid) if pixels else _without_pixels(root, cameras, grid)
    for view in images.views:
        size = cameras[view.name].size
        if size != view.size:
            raise InputError(
                f"The map's camera of {view.name} has {size[0]} × {size[1]} pixels but the file has {view.size[0]} × "
                f"{view.size[1]}; give the folder of the photographs that the map was made from (--image-root)."
            )
    views = add_known(images, cameras, poses).views
    left_out = tuple(f"{dropped.name} is not used: {dropped.reason}." for dropped in images.dropped)
    return Reference(
        model=model,
        views=views,
        image_ids=tuple(by_name[view.name].image_id for view in views),
        cam_from_world=np.stack([poses[view.name] for view in views]),
        warnings=images.warnings + left_out,
    )


def model_of_poses(
    cameras: Mapping[str, KnownCamera], cam_from_world: Mapping[str, Float64[np.ndarray, "3 4"]]
) -> Reconstruction:
    """Make a COLMAP model without points of posed photographs; those with equal cameras share one.

    Args:
        cameras: by name of the photograph, in raw pixels.
        cam_from_world: poses of the raw cameras, by the same names.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    model = pycolmap.Reconstruction()
    camera_ids: dict[KnownCamera, int] = {}
    for image_id, name in enumerate(sorted(cam_from_world), start=1):
        camera = cameras[name]
        if camera not in camera_ids:
            camera_ids[camera] = len(camera_ids) + 1
            added = colmap_camera(camera)
            added.camera_id = camera_ids[camera]
            model.add_camera_with_trivial_rig(added)
        image = pycolmap.Image(name, np.zeros((0, 2)), camera_ids[camera], image_id)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(cam_from_world[name]))
    return model


def _with_pixels(root: Path, names: Sequence[str], grid: Grid) -> ImageSet:
    there = [name for name in names if (root / name).is_file()]
    if not there:
        raise InputError(
            f"None of the map's {len(names)} images is in {root} ({names[0]} for one); give --image-root.", path=root
        )
    images = read_images(root, ImageOptions(), grid, there)
    missing = len(names) - len(there)
    if not missing:
        return images
    first = next(name for name in names if not (root / name).is_file())
    sentence = f"{missing} of the map's {len(names)} images are not in {root} and are not used, {first} for one."
    return ImageSet(root=root, views=images.views, dropped=images.dropped, warnings=(*images.warnings, sentence))


def _without_pixels(root: Path, cameras: Mapping[str, KnownCamera], grid: Grid) -> ImageSet:
    views = []
    for name, camera in cameras.items():
        network_size, network_from_image = network_grid(camera.size, 1, grid)
        views.append(
            View(
                name=name,
                path=root / name,
                size=camera.size,
                orientation=1,
                network_size=network_size,
                network_from_image=network_from_image,
                focal_prior=None,
                camera_group=0,
            )
        )
    return ImageSet(root=root, views=tuple(views))


def covisible_groups(reference: Reference, images: Sequence[int]) -> list[list[int]]:
    """Part images into groups that are joined by shared points of the model, as hloc does; the largest first.

    Images of a model without points stay together.
    """
    seen = [
        np.array([point.point3D_id for point in reference.image(index).get_observation_points2D()], dtype=np.uint64)
        for index in images
    ]
    if not any(len(points) for points in seen):
        return [list(images)]
    edges = [
        (first, second)
        for first in range(len(images))
        for second in range(first + 1, len(images))
        if len(np.intersect1d(seen[first], seen[second]))
    ]
    labels = component_labels(len(images), np.array(edges, dtype=np.int64).reshape(-1, 2))
    groups = [[images[node] for node in np.flatnonzero(labels == label).tolist()] for label in np.unique(labels)]
    return sorted(groups, key=lambda group: -len(group))
