"""A map of five photographs of a rendered courtyard, whose depth is known exactly, and a sixth to localize."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dust3r_sfm.images.known_cameras import read_intrinsics
from dust3r_sfm.images.known_poses import read_poses
from dust3r_sfm.images.read import read_images
from dust3r_sfm.localization.lift import DepthLift, DepthRaster, Lift
from dust3r_sfm.localization.reference import Reference, model_of_poses, read_reference
from dust3r_sfm.options import ImageOptions, PredictOptions
from dust3r_sfm.predictors.predictor import PairPredictor, load_predictor
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.types import KnownCamera, Scene, View


@dataclass(frozen=True, kw_only=True)
class Courtyard:
    """Everything that is known of the rendered scene."""

    images: Path
    truth: Path
    scene: Scene
    reference: Reference
    lift: Lift
    query: View
    camera: KnownCamera
    pose: np.ndarray

    def oracle(self) -> PairPredictor:
        """The predictor that knows the scene."""
        return load_predictor(PredictOptions(predictor="oracle", weights=str(self.truth / "scene.h5")), 0)


@pytest.fixture(scope="session")
def courtyard(sample_folder: Path) -> Courtyard:
    """The map and the query."""
    root, truth = sample_folder / "images", sample_folder / "truth"
    views = read_images(root, ImageOptions()).views
    names = [view.name for view in views]
    poses, _ = read_poses(truth / "poses.json", names)
    cameras, _ = read_intrinsics(str(truth / "poses.json"), views)
    query = views[2]
    model = model_of_poses(
        {name: cameras[name] for name in names if name != query.name},
        {name: poses[name] for name in names if name != query.name},
    )
    reference = read_reference(model, root)
    scene = read_scene(truth / "scene.h5")

    def read(index: int) -> DepthRaster:
        at = scene.names.index(reference.names[index])
        return DepthRaster(depth=scene.depths[at], matrix=scene.network_from_image[at])

    return Courtyard(
        images=root,
        truth=truth,
        scene=scene,
        reference=reference,
        lift=DepthLift(reference, read),
        query=query,
        camera=cameras[query.name],
        pose=poses[query.name],
    )


@pytest.fixture
def map_folder(courtyard: Courtyard, tmp_path: Path) -> Path:
    """The map as a folder: a COLMAP model with points on a lattice of each image, and links to the photographs."""
    model = model_of_poses(
        {view.name: view.known_camera for view in courtyard.reference.views if view.known_camera},
        dict(zip(courtyard.reference.names, courtyard.reference.cam_from_world, strict=True)),
    )
    add_lattice_points(model, courtyard)
    folder = tmp_path / "map"
    (folder / "sparse" / "0").mkdir(parents=True)
    model.write_binary(str(folder / "sparse" / "0"))
    (folder / "images").symlink_to(courtyard.images)
    return folder


def add_lattice_points(model: object, courtyard: Courtyard) -> None:
    """Give each image of a model observations on a lattice of pixels, and a point for each."""
    from dust3r_sfm.system._pycolmap import pycolmap

    for index, view in enumerate(courtyard.reference.views):
        x, y = np.meshgrid(np.arange(4.5, view.size[0], 6), np.arange(4.5, view.size[1], 6))
        xy = np.column_stack([x.ravel(), y.ravel()])
        xyz = courtyard.lift(index, xy)
        kept = np.isfinite(xyz).all(axis=1)
        image = next(image for image in model.images.values() if image.name == view.name)  # type: ignore[attr-defined]
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(position) for position in xy[kept]])
        for row, point in enumerate(xyz[kept]):
            track = pycolmap.Track([pycolmap.TrackElement(image.image_id, row)])
            model.add_point3D(point, track, np.zeros(3, np.uint8))  # type: ignore[attr-defined]


def write_query_list(path: Path, courtyard: Courtyard) -> Path:
    """hloc's list with intrinsics of the one query."""
    numbers = " ".join(map(str, (*courtyard.camera.size, *courtyard.camera.params)))
    path.write_text(f"# the query\n\n{courtyard.query.name} {courtyard.camera.model} {numbers}\n", encoding="utf-8")
    return path


def read_json(path: Path) -> dict:  # type: ignore[type-arg]
    """A JSON file."""
    content: dict = json.loads(path.read_text(encoding="utf-8"))  # type: ignore[type-arg]
    return content
