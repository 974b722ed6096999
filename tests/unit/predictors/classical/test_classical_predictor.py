"""The embedded predictor on a small exactly known scene: textured boards rendered by homographies."""

import json
import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch

from dust3r_sfm.errors import PredictorError
from dust3r_sfm.images.read import read_images
from dust3r_sfm.options import ImageOptions, PredictOptions
from dust3r_sfm.predictors.classical import ClassicalPredictor
from dust3r_sfm.types import Edge, ImageSet, PairGraph, PairPrediction

WIDTH, HEIGHT, FOCAL = 320, 240, 280.0
SCALE = 512 / WIDTH
MATRIX = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
# (depth of a board parallel to the first camera, left and right edge in the world), far to near
BOARDS = ((8.0, -9.0, 9.0), (5.0, -2.2, -0.6), (4.0, 0.3, 1.6))
TEXELS = 60.0


class Scene(NamedTuple):
    images: ImageSet
    predictor: ClassicalPredictor
    predictions: dict[Edge, PairPrediction]
    depths: list[np.ndarray]


def rotation(x: float, y: float, z: float) -> np.ndarray:
    return cv2.Rodrigues(np.radians(np.array([x, y, z])))[0]


POSES = (
    np.column_stack([np.eye(3), np.zeros(3)]),
    np.column_stack([rotation(0, 4, 1), [-0.6, 0.05, 0.1]]),
    np.column_stack([rotation(2, 8, 0), [-1.1, -0.15, 0.0]]),
)


def board_texture(seed: int, width: int, height: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    texture = np.zeros((height, width), np.float32)
    for octave, amplitude in ((2, 1.0), (4, 1.0), (8, 1.0), (20, 1.0)):
        noise = rng.standard_normal((height // octave + 2, width // octave + 2)).astype(np.float32)
        texture += amplitude * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 45 * texture, 0, 255).astype(np.uint8)


def render(cam_from_world: np.ndarray, first_seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Render the boards; return the picture and the depth of its pixels."""
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = np.stack([(x - WIDTH / 2) / FOCAL, (y - HEIGHT / 2) / FOCAL, np.ones_like(x)], -1)
    rotation_, translation = cam_from_world[:, :3], cam_from_world[:, 3]
    centre, world_rays = -rotation_.T @ translation, rays @ rotation_
    picture, depths = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH))
    for index, (depth, left, right) in enumerate(BOARDS):
        along = (depth - centre[2]) / world_rays[..., 2]
        hit = centre + along[..., None] * world_rays
        texture = board_texture(first_seed + index, int((right - left) * TEXELS), int(14 * TEXELS))
        u, v = ((hit[..., 0] - left) * TEXELS).astype(np.float32), ((hit[..., 1] + 7) * TEXELS).astype(np.float32)
        seen = (hit[..., 0] > left) & (hit[..., 0] < right) & (along > 0)
        picture[seen] = cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)[seen]
        depths[seen] = along[seen]
    return picture, depths


def photographs(folder: Path, pictures: list[np.ndarray]) -> ImageSet:
    folder.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{index}.png"), picture)
    return read_images(folder, ImageOptions())


def complete(num_images: int) -> PairGraph:
    edges = np.array([(i, j) for i in range(num_images) for j in range(i + 1, num_images)])
    return PairGraph(num_images=num_images, edges=edges, weights=np.ones(len(edges)))


def run(images: ImageSet, num_workers: int = 1, seed: int = 0) -> tuple[ClassicalPredictor, dict[Edge, PairPrediction]]:
    predictor = ClassicalPredictor(PredictOptions(num_workers=num_workers), seed)
    graph = complete(len(images))
    predictor.prepare(images, graph)
    features = dict(enumerate(predictor.encode(images.views)))
    both = [edge for i, j in graph.edges.tolist() for edge in ((i, j), (j, i))]
    return predictor, dict(predictor.predict(features, both))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    pictures, depths = zip(*(render(pose) for pose in POSES), strict=True)
    images = photographs(tmp_path_factory.mktemp("boards"), list(pictures))
    threads = cv2.getNumThreads(), torch.get_num_threads()
    predictor, predictions = run(images, num_workers=2)
    assert (cv2.getNumThreads(), torch.get_num_threads()) == threads
    return Scene(images, predictor, predictions, list(depths))


def is_failed(prediction: PairPrediction) -> bool:
    return bool((prediction.confidence1 == 1).all() and (prediction.confidence2 == 1).all())


def relative(i: int, j: int) -> np.ndarray:
    turn = POSES[j][:, :3] @ POSES[i][:, :3].T
    return np.column_stack([turn, POSES[j][:, 3] - turn @ POSES[i][:, 3]])


def focal_of(prediction: PairPrediction) -> float:
    points = prediction.points1.astype(np.float64)
    height, width = points.shape[:2]
    x = np.arange(width) + 0.5 - width / 2
    slopes = points[height // 2, :, 0] / points[height // 2, :, 2]
    return float((x @ x) / (x @ slopes))


def test_every_pair_is_finite_in_front_and_on_the_network_grid(scene: Scene) -> None:
    for prediction in scene.predictions.values():
        assert prediction.points1.shape == prediction.points2.shape == (384, 512, 3)
        assert np.isfinite(prediction.points1).all() and np.isfinite(prediction.points2).all()
        assert (prediction.points1[..., 2] > 0).all()
        assert min(prediction.confidence1.min(), prediction.confidence2.min()) >= 1
        assert np.median(prediction.points1[..., 2]) == pytest.approx(1, rel=1e-3)


def test_measured_depth_is_right_and_confidence_tells_it_apart(scene: Scene) -> None:
    for (i, _), prediction in scene.predictions.items():
        truth = cv2.resize(scene.depths[i], (512, 384), interpolation=cv2.INTER_LINEAR)
        ratio = prediction.points1[..., 2] / truth
        sure, unsure = prediction.confidence1 > 5, prediction.confidence1 < 1.5
        scale = np.median(ratio[sure])
        error = np.abs(ratio / scale - 1)
        assert sure.mean() > 0.4
        assert np.median(error[sure]) < 0.01
        assert np.median(error[sure]) < np.median(error[unsure])


def test_points_of_image_2_are_in_camera_1(scene: Scene) -> None:
    for (i, j), prediction in scene.predictions.items():
        truth = cv2.resize(scene.depths[j], (512, 384), interpolation=cv2.INTER_LINEAR)
        x, y = np.meshgrid(np.arange(512) + 0.5 - 256, np.arange(384) + 0.5 - 192)
        points = np.stack([x / (FOCAL * SCALE), y / (FOCAL * SCALE), np.ones_like(x)], -1) * truth[..., None]
        pose = relative(i, j)
        expected = (points - pose[:, 3]) @ pose[:, :3]
        own = cv2.resize(scene.depths[i], (512, 384), interpolation=cv2.INTER_LINEAR)
        scale = np.median((prediction.points1[..., 2] / own)[prediction.confidence1 > 5])
        sure = prediction.confidence2 > 5
        error = np.linalg.norm(prediction.points2 / scale - expected, axis=-1)[sure]
        assert np.median(error / truth[sure]) < 0.02


def test_the_focal_length_is_found(scene: Scene) -> None:
    for prediction in scene.predictions.values():
        assert focal_of(prediction) == pytest.approx(FOCAL * SCALE, rel=0.03)


def test_the_number_of_workers_changes_nothing(scene: Scene) -> None:
    again = run(scene.images, num_workers=1)[1]
    for edge, prediction in scene.predictions.items():
        np.testing.assert_array_equal(prediction.points1, again[edge].points1)
        np.testing.assert_array_equal(prediction.points2, again[edge].points2)
        np.testing.assert_array_equal(prediction.confidence1, again[edge].confidence1)


def test_one_direction_equals_both(scene: Scene) -> None:
    features = dict(enumerate(scene.predictor.encode(scene.images.views)))
    ((edge, alone),) = scene.predictor.predict(features, [(2, 0)])
    np.testing.assert_array_equal(alone.points1, scene.predictions[edge].points1)


def test_pure_rotation_has_no_depth(tmp_path: Path) -> None:
    turned = np.column_stack([rotation(3, 10, 2), np.zeros(3)])
    images = photographs(tmp_path, [render(POSES[0])[0], render(turned)[0]])
    assert all(is_failed(prediction) for prediction in run(images)[1].values())


def test_the_same_picture_twice_has_no_depth(tmp_path: Path) -> None:
    picture = render(POSES[0])[0]
    images = photographs(tmp_path, [picture, picture + np.uint8(1)])
    assert all(is_failed(prediction) for prediction in run(images)[1].values())


def test_unrelated_pictures_fail_with_a_valid_plane(tmp_path: Path) -> None:
    images = photographs(tmp_path, [render(POSES[0])[0], render(POSES[1], first_seed=50)[0]])
    _, predictions = run(images)
    for prediction in predictions.values():
        assert is_failed(prediction)
        assert (prediction.points1[..., 2] == 1).all() and np.isfinite(prediction.points2).all()


def test_blank_pictures_fail(tmp_path: Path) -> None:
    images = photographs(tmp_path, [np.full((HEIGHT, WIDTH), value, np.uint8) for value in (90, 120, 140)])
    predictor, predictions = run(images)
    assert all(is_failed(prediction) for prediction in predictions.values())
    assert np.isfinite(predictor.describe(images.views)).all()


def test_masked_pixels_say_nothing(tmp_path: Path) -> None:
    pictures = [render(pose)[0] for pose in POSES[:2]]
    photographs(tmp_path / "images", pictures)
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[:, : WIDTH // 2] = 0
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / "0.png.png"), mask)
    images = read_images(tmp_path / "images", ImageOptions(masks=tmp_path / "masks"))
    prediction = run(images)[1][0, 1]
    assert (prediction.confidence1[:, :250] == 1).all()
    assert (prediction.confidence1[:, 262:] > 5).any()


def test_descriptors_rank_the_same_place_first(tmp_path: Path) -> None:
    pictures = [render(pose, first_seed=seed)[0] for seed in (0, 50) for pose in POSES[:3]]
    images = photographs(tmp_path, pictures)
    descriptors = ClassicalPredictor(PredictOptions(), 0).describe(images.views)
    similarity = descriptors @ descriptors.T
    assert similarity[:3, :3].min() > similarity[:3, 3:].max()


def test_weights_are_refused() -> None:
    with pytest.raises(PredictorError, match="weights"):
        ClassicalPredictor(PredictOptions(weights="some.pth"), 0)


def test_a_pair_that_was_not_prepared_is_refused(scene: Scene) -> None:
    predictor = ClassicalPredictor(PredictOptions(num_workers=1), 0)
    predictor.prepare(scene.images, PairGraph(num_images=3, edges=np.array([[0, 1]]), weights=np.ones(1)))
    features = dict(enumerate(predictor.encode(scene.images.views)))
    with pytest.raises(PredictorError, match="prepare"):
        list(predictor.predict(features, [(0, 2)]))


@pytest.mark.data
def test_real_photographs() -> None:
    folder = Path(os.environ.get("DUST3R_SFM_DATA", "../shared/data")) / "fox_a"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    reference = json.loads((folder / "poses.json").read_text())
    names = sorted(name for name in reference if name.endswith(".jpg"))[:12:3]
    images = read_images(folder / "images", ImageOptions(), names=names)
    _, predictions = run(images, num_workers=0)
    true_focal = reference[names[0]]["camera"]["params"][0] * images.views[0].network_from_image[0, 0]
    for prediction in predictions.values():
        assert focal_of(prediction) == pytest.approx(true_focal, rel=0.08)
    # Between the first and the last view, 77 degrees apart, nothing has to be found.
    assert sum((prediction.confidence1 > 1.5).mean() > 0.1 for prediction in predictions.values()) >= 6
