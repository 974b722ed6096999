"""Known cameras and poses in the embedded predictor: taken as they are, for all photographs or some."""

from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.geometry.grid import raw_from_upright
from dust3r_sfm.geometry.pinhole import pixel_grid, unproject
from dust3r_sfm.geometry.procrustes import similarity
from dust3r_sfm.geometry.transforms import compose, invert, rotation_angle
from dust3r_sfm.images.known import add_known, with_known
from dust3r_sfm.images.read import read_images
from dust3r_sfm.options import ImageOptions, KnownOptions, PredictOptions
from dust3r_sfm.predictors.classical import ClassicalPredictor
from dust3r_sfm.predictors.classical.lens import Lens
from dust3r_sfm.predictors.classical.pose import known_pose
from dust3r_sfm.predictors.classical.sampson import CalibratedMatches, RayPairs, sampson_distances
from dust3r_sfm.predictors.classical.sift import find_keypoints, match_keypoints
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import ImageSet, KnownCamera, PairGraph

NUM_PHOTOGRAPHS = 3


@pytest.fixture(scope="module")
def photographs(sample_folder) -> ImageSet:
    names = sorted(path.name for path in (sample_folder / "images").iterdir())[:NUM_PHOTOGRAPHS]
    return read_images(sample_folder / "images", ImageOptions(), names=names)


def predict(images: ImageSet):
    predictor = ClassicalPredictor(PredictOptions(num_workers=1), 0)
    edges = np.array([(i, j) for i in range(len(images)) for j in range(i + 1, len(images))])
    predictor.prepare(images, PairGraph(num_images=len(images), edges=edges, weights=np.ones(len(edges))))
    features = dict(enumerate(predictor.encode(images.views)))
    both = [edge for i, j in edges.tolist() for edge in ((i, j), (j, i))]
    return dict(predictor.predict(features, both))


@pytest.fixture(scope="module")
def truth(sample_folder):
    return read_scene(sample_folder / "truth" / "scene.h5")


@pytest.fixture(scope="module")
def known(sample_folder, photographs):
    reference = sample_folder / "truth" / "poses.json"
    return with_known(photographs, KnownOptions(intrinsics=str(reference), poses=reference))


@pytest.fixture(scope="module")
def predictions(known):
    return predict(known)


def test_pointmaps_lie_on_the_known_rays(known, predictions):
    for (i, _), prediction in predictions.items():
        view = known.views[i]
        width, height = view.network_size
        xyz = prediction.points1.astype(float)
        seen = xyz @ view.known_intrinsics.T
        np.testing.assert_allclose(seen[..., :2] / seen[..., 2:], pixel_grid(height, width), atol=1e-3)


def test_both_directions_of_a_pair_carry_the_known_pose(known, predictions):
    for i, j in ((0, 1), (0, 2), (1, 2)):
        there, back = predictions[i, j], predictions[j, i]
        assert (there.confidence1 > 2).mean() > 0.2
        found = similarity(there.points2.reshape(-1, 3).astype(float), back.points1.reshape(-1, 3).astype(float))
        rotation = found[:3, :3] / np.cbrt(np.linalg.det(found[:3, :3]))
        expected = compose(known.views[j].known_cam_from_world, invert(known.views[i].known_cam_from_world))
        assert rotation_angle(rotation @ expected[:, :3].T) < 1e-3
        direction = found[:3, 3] @ expected[:, 3] / np.linalg.norm(found[:3, 3]) / np.linalg.norm(expected[:, 3])
        assert direction > 1 - 1e-8


def test_depths_are_those_of_the_scene(known, predictions, truth):
    for (i, _), prediction in predictions.items():
        index = truth.names.index(known.names[i])
        sure = (prediction.confidence1 > 5) & (truth.depths[index] > 0)
        ratio = prediction.points1[..., 2][sure] / truth.depths[index][sure]
        assert np.median(np.abs(ratio / np.median(ratio) - 1)) < 0.01


def test_known_poses_agree_better_than_found_ones(photographs, predictions, truth):
    """What the pairs say about the first photograph's points in the second camera's frame."""

    def error(of_pair):
        errors = []
        for (i, j), prediction in of_pair.items():
            index1, index2 = (truth.names.index(photographs.names[k]) for k in (i, j))
            own = unproject(truth.depths[index2].astype(float), truth.intrinsics[index2])
            cam1_from_cam2 = compose(truth.cam_from_world[index1], invert(truth.cam_from_world[index2]))
            exact = own.reshape(-1, 3) @ cam1_from_cam2[:, :3].T + cam1_from_cam2[:, 3]
            sure = (prediction.confidence2.ravel() > 5) & (truth.depths[index2].ravel() > 0)
            found = prediction.points2.reshape(-1, 3)[sure].astype(float)
            scale = np.median(np.linalg.norm(exact[sure], axis=1) / np.linalg.norm(found, axis=1))
            distance = np.linalg.norm(scale * found - exact[sure], axis=1)
            errors.append(np.median(distance / np.linalg.norm(exact[sure], axis=1)))
        return np.median(errors)

    assert error(predictions) < error(predict(photographs))


def test_some_photographs_known(photographs, known):
    """The focal length of the others is found beside the known ones, which stay exact."""
    mixed = replace(photographs, views=(known.views[0], *photographs.views[1:]))
    mixed = replace(mixed, views=tuple(replace(view, focal_prior=None) for view in mixed.views))
    predictor = ClassicalPredictor(PredictOptions(num_workers=1), 0)
    edges = np.array([(0, 1), (0, 2), (1, 2)])
    predictor.prepare(mixed, PairGraph(num_images=3, edges=edges, weights=np.ones(3)))
    lenses = [feature[1] for feature in predictor.encode(mixed.views)]
    assert lenses[0] == Lens.of_known(known.views[0])
    for index in (1, 2):
        assert lenses[index].focal == pytest.approx(known.views[index].known_intrinsics[0, 0], rel=0.05)
        assert not lenses[index].is_known


@pytest.mark.parametrize("index", range(NUM_PHOTOGRAPHS))
def test_the_lens_of_a_distorted_camera_has_its_rays(photographs, index):
    view = photographs.views[index]
    focal = 0.9 * max(view.size)
    params = (focal, 1.01 * focal, view.size[0] * 0.51, view.size[1] * 0.48, -0.05, 0.01, 0.0, 0.0)
    camera = KnownCamera(model="OPENCV", size=view.size, params=params)
    known = add_known(replace(photographs, views=(view,)), {view.name: camera}, {}).views[0]
    lens = Lens.of_known(known)
    assert lens.is_known and lens.radial > 0
    made = pycolmap.Camera(model="OPENCV", width=view.size[0], height=view.size[1], params=params)
    raw = pixel_grid(20, 20).reshape(-1, 2) * np.array(view.size) / 20
    network = raw @ view.network_from_image[:2, :2].T + view.network_from_image[:2, 2]
    exact = made.cam_from_img(raw) @ raw_from_upright(view.network_from_image)[:2, :2]
    assert np.abs(lens.normalize(network) - exact).max() * lens.focal < 1.0
    np.testing.assert_allclose(lens.distort(lens.undistort(network)), network, atol=1e-3)


@pytest.mark.data
@pytest.mark.parametrize("name", ["strecha_fountain_p11", "fox_a"])
def test_real_matches_agree_with_the_reference(data_root, name):
    """A wrong axis, direction or pixel origin in what is read would leave no inliers."""
    reference = data_root / name / "poses.json"
    found = read_images(data_root / name / "images", ImageOptions())
    images = with_known(replace(found, views=found.views[:2]), KnownOptions(intrinsics=str(reference), poses=reference))
    first, second = (find_keypoints(view) for view in images.views)
    index = match_keypoints(first, second)
    points = CalibratedMatches(xy1=first.xy[index[:, 0]], xy2=second.xy[index[:, 1]])
    lenses = [Lens.of_known(view) for view in images.views]
    relative = compose(images.views[1].known_cam_from_world, invert(images.views[0].known_cam_from_world))
    (posed,) = known_pose(relative, points, *lenses)
    assert posed.num_inliers > 0.6 * len(points)
    distances = sampson_distances(posed.cam2_from_cam1, RayPairs.of(points.subset(posed.inlier), *lenses))
    assert np.median(np.abs(distances)) < 0.3
