"""The geometry of one photograph: depth and focal length of a known pointmap, and the model of one camera."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.colmap.model import read_model, reconstruction_from_scene
from dust3r_sfm.errors import InputError, PredictorError, ReconstructionError
from dust3r_sfm.export import export
from dust3r_sfm.geometry.pinhole import intrinsics, unproject
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.options import ImageOptions, PredictOptions, ReconstructOptions
from dust3r_sfm.reconstruct import reconstruct
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.single import own_geometry, require_network, scene_of_one, tracks_from_depth
from dust3r_sfm.types import ImageSet, PairPrediction

FOCAL = 70.0


def photographs(folder: Path, orientation: int = 1, size: tuple[int, int] = (250, 160)) -> ImageSet:
    """One photograph whose red is its column and whose green is its row."""
    folder.mkdir(exist_ok=True)
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    pixels = np.stack([columns % 256, rows % 256, 0 * rows], axis=-1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(folder / "a b.png", exif=exif)
    return read_images(folder, ImageOptions(), Grid(size=64, multiple_of=16))


def seen(images: ImageSet, seed: int = 0) -> PairPrediction:
    """The exact pointmap of a bumpy surface, in a pair with itself."""
    (view,) = images.views
    width, height = view.network_size
    rows, columns = np.mgrid[:height, :width]
    depth = 3 + np.sin(rows / 9) + np.cos(columns / 7 + seed)
    centre = (view.network_from_image @ [view.size[0] / 2, view.size[1] / 2, 1])[:2]
    points = unproject(depth, intrinsics(FOCAL, view.network_size, tuple(centre))).astype(np.float32)
    confidence = np.full(depth.shape, 5, np.float32)
    return PairPrediction(points1=points, confidence1=confidence, points2=points, confidence2=confidence)


@pytest.mark.parametrize("orientation", [1, 6])
def test_depth_and_focal_length_are_those_of_the_pointmap(tmp_path: Path, orientation: int) -> None:
    images = photographs(tmp_path / "photos", orientation)
    prediction = seen(images)
    geometry = own_geometry(prediction, images.views[0])
    np.testing.assert_array_equal(geometry.depth, prediction.points1[..., 2])
    assert geometry.focal == pytest.approx(FOCAL, rel=1e-4)


def test_what_is_behind_or_unknown_has_no_depth(tmp_path: Path) -> None:
    images = photographs(tmp_path / "photos")
    prediction = seen(images)
    points, confidence = prediction.points1.copy(), prediction.confidence1.copy()
    points[:5] *= -1
    confidence[5:10] = 1
    changed = replace(prediction, points1=points, confidence1=confidence)
    geometry = own_geometry(changed, images.views[0])
    assert (geometry.depth[:10] == 0).all() and (geometry.depth[10:] > 0).all()
    assert (geometry.confidence[:10] == 1).all()
    assert geometry.focal == pytest.approx(FOCAL, rel=1e-4)
    nothing = replace(prediction, confidence1=np.ones_like(confidence))
    with pytest.raises(ReconstructionError, match=r"no usable depth for a b\.png"):
        own_geometry(nothing, images.views[0])


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_points_of_the_model_project_to_their_pixels(tmp_path: Path, orientation: int) -> None:
    images = photographs(tmp_path / "photos", orientation)
    scene = scene_of_one(images, {(0, 0): seen(images)})
    raw = np.asarray(Image.open(images.views[0].path))
    tracks = tracks_from_depth(scene, 100_000, lambda index: raw)
    width, height = images.views[0].network_size
    assert 0.2 * width * height < len(tracks.xyz) <= 0.25 * width * height
    model = reconstruction_from_scene(scene, tracks)
    image = model.images[1]
    assert image.num_points3D == len(tracks.xyz) == model.num_points3D()
    errors = []
    for point2d in image.points2D:
        point = model.points3D[point2d.point3D_id]
        errors.append(np.linalg.norm(image.project_point(point.xyz) - point2d.xy))
        column, row = point2d.xy.astype(int)
        np.testing.assert_array_equal(point.color, raw[row, column])
    # The two axes of the network grid are rounded each by itself.
    assert max(errors) < 0.2
    assert image.camera.mean_focal_length() == pytest.approx(FOCAL / (64 / 250), rel=0.01)


def test_a_limit_on_points_is_kept_and_the_least_confident_give_none(tmp_path: Path) -> None:
    images = photographs(tmp_path / "photos")
    prediction = seen(images)
    confidence = prediction.confidence1.copy()
    confidence[:4] = 2
    scene = scene_of_one(images, {(0, 0): replace(prediction, confidence1=confidence)})
    pixels = np.zeros((160, 250, 3), np.uint8)
    tracks = tracks_from_depth(scene, 100_000, lambda index: pixels)
    assert tracks.xy[:, 1].min() > 4 * 250 / 64
    assert 20 < len(tracks_from_depth(scene, 50, lambda index: pixels).xyz) <= 50


def test_what_the_user_knows_is_kept(tmp_path: Path) -> None:
    images = photographs(tmp_path / "photos")
    pose = np.column_stack([np.eye(3), [1.0, 2.0, 3.0]])
    matrix = intrinsics(90.0, images.views[0].network_size)
    view = replace(images.views[0], known_intrinsics=matrix, known_cam_from_world=pose)
    scene = scene_of_one(replace(images, views=(view,)), {(0, 0): seen(images)})
    np.testing.assert_array_equal(scene.intrinsics[0], matrix)
    np.testing.assert_array_equal(scene.cam_from_world[0], pose)


def test_predictors_that_need_two_photographs_name_those_that_do_not() -> None:
    from dust3r_sfm.predictors.predictor import load_predictor

    with pytest.raises(PredictorError, match=r"'classical' sees depth only.*dust3r-512-dpt.* or mast3r-512"):
        require_network(load_predictor(PredictOptions(), 0))
    network = load_predictor(PredictOptions(predictor="mast3r-512"), 0)
    assert require_network(network) is network


def test_one_photograph_makes_a_model_and_classical_cannot(tmp_path: Path, small_weights: Path) -> None:
    from dust3r_sfm.system._pycolmap import pycolmap

    photos, out = tmp_path / "photos", tmp_path / "out"
    photographs(photos)
    with pytest.raises(InputError, match=r"holds one usable photograph \(a b\.png\).*dust3r-512-dpt"):
        reconstruct(photos, out)
    options = ReconstructOptions(predict=PredictOptions(predictor="dust3r-224-linear", weights=str(small_weights)))
    summary = reconstruct(photos, out, options)
    assert summary is not None and summary.registered == ("a b.png",)
    assert any("nothing checks" in warning for warning in summary.warnings)
    scene = read_scene(out / "scene.h5")
    assert (scene.depths[0] > 0).any() and scene.depths[0].shape == (224, 224)
    for folder in (out / "sparse" / "0", out / "dense" / "sparse"):
        model = pycolmap.Reconstruction(str(folder))
        assert model.num_images() == 1 and model.num_points3D() > 1000
    assert read_model(out).images[1].name == "a b.png"
    assert (out / "dense" / "images" / "a b.png").is_file()
    export(out, tmp_path / "again")
    assert read_model(tmp_path / "again").num_points3D() == read_model(out).num_points3D()
    before = (out / "predictions.h5").stat().st_mtime_ns, (out / "scene.h5").stat().st_mtime_ns
    assert reconstruct(photos, out, options) == summary
    assert before == ((out / "predictions.h5").stat().st_mtime_ns, (out / "scene.h5").stat().st_mtime_ns)
