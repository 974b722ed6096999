from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.errors import InputError, PredictorError, WeightsError
from dust3r_sfm.geometry.pinhole import unproject
from dust3r_sfm.geometry.procrustes import similarity
from dust3r_sfm.geometry.transforms import apply, compose, invert, rotation_angle
from dust3r_sfm.options import PredictOptions
from dust3r_sfm.predictors.oracle import OracleNoise, OraclePredictor
from dust3r_sfm.scene_file import write_scene


def _oracle(known_scene, seed=0, **noise):
    options = PredictOptions(predictor="oracle", weights=str(known_scene[0]))
    return OraclePredictor(options, seed, OracleNoise(**noise))


def _predict(oracle, images, edges):
    features = dict(enumerate(oracle.encode(images.views)))
    return dict(oracle.predict(features, edges))


def _relative(prediction, scene, j):
    """cam1_from_cam2 of a prediction, up to scale, from its second pointmap."""
    known = scene.depths[j] > 0
    own = unproject(scene.depths[j].astype(np.float64), scene.intrinsics[j])[known]
    fitted = similarity(own, prediction.points2[known].astype(np.float64), None)
    scale = np.cbrt(np.linalg.det(fitted[:3, :3]))
    return fitted[:3] / scale, scale


def test_grid_follows_the_scene(known_scene):
    assert _oracle(known_scene).grid.size == 64


def test_exact_up_to_one_scale(known_scene):
    _, scene, images = known_scene
    for (i, j), prediction in _predict(_oracle(known_scene), images, [(0, 1), (2, 5), (7 - 1, 2)]).items():
        own = unproject(scene.depths[i].astype(np.float64), scene.intrinsics[i])
        scale = np.median(prediction.points1[..., 2][scene.depths[i] > 0] / own[..., 2][scene.depths[i] > 0])
        known = scene.depths[i] > 0
        np.testing.assert_allclose(prediction.points1[known], scale * own[known], rtol=1e-5, atol=1e-5)
        true = compose(scene.cam_from_world[i], invert(scene.cam_from_world[j]))
        found, scale2 = _relative(prediction, scene, j)
        np.testing.assert_allclose(found[:, :3], true[:, :3], atol=1e-5)
        np.testing.assert_allclose(found[:, 3], true[:, 3], atol=1e-4)
        assert scale2 == pytest.approx(scale, rel=1e-5)


def test_both_directions_agree(known_scene):
    """The two pointmaps of one image, in two cameras' frames and scales, are the same surface."""
    _, scene, images = known_scene
    found = _predict(_oracle(known_scene), images, [(0, 2), (2, 0)])
    cam2_from_cam1 = compose(scene.cam_from_world[2], invert(scene.cam_from_world[0]))
    known = scene.depths[0] > 0
    forward, backward = found[0, 2].points1[known].astype(float), found[2, 0].points2[known].astype(float)
    fitted = similarity(forward, backward, None)
    scale = np.cbrt(np.linalg.det(fitted[:3, :3]))
    np.testing.assert_allclose(apply(fitted, forward), backward, atol=1e-5)
    np.testing.assert_allclose(fitted[:3, :3] / scale, cam2_from_cam1[:, :3], atol=1e-5)
    assert scale != pytest.approx(1, abs=1e-3), "each edge has a scale of its own"


def test_confidence_tells_what_both_see(known_scene):
    _, scene, images = known_scene
    oracle = _oracle(known_scene)
    near, far = (_predict(oracle, images, [edge])[edge] for edge in [(0, 1), (0, 6)])
    assert near.confidence1.min() >= 1 and (near.confidence1[scene.depths[0] == 0] == 1).all()
    assert (near.confidence1 > 5).mean() > (far.confidence1 > 5).mean()
    assert ((far.confidence1 > 1) & (far.confidence1 < 5)).any()


def test_pairs_without_overlap_fail(known_scene, tmp_path):
    _, scene, images = known_scene
    turned = scene.cam_from_world.copy()
    turned[3] = compose(np.hstack([np.diag([-1.0, 1, -1]), np.zeros((3, 1))]), turned[3])
    write_scene(tmp_path / "scene.h5", replace(scene, cam_from_world=turned))
    prediction = _predict(_oracle((tmp_path / "scene.h5",)), images, [(2, 3)])[2, 3]
    assert (prediction.confidence1 == 1).all() and (prediction.confidence2 == 1).all()
    assert np.isfinite(prediction.points1).all()


def test_an_edge_depends_on_nothing_but_seed_and_photographs(known_scene):
    images = known_scene[2]
    noise = {"depth": 0.03, "pixel": 0.01, "rotation": 1.0, "translation": 0.05, "wrong_pairs": 0.2}
    alone = _predict(_oracle(known_scene, **noise), images, [(1, 3)])[1, 3]
    among = _predict(_oracle(known_scene, **noise), images, [(4, 2), (3, 1), (1, 3)])[1, 3]
    other = _predict(_oracle(known_scene, seed=1, **noise), images, [(1, 3)])[1, 3]
    np.testing.assert_array_equal(alone.points2, among.points2)
    assert not np.allclose(alone.points1, other.points1)
    subset = replace(images, views=images.views[1:4])
    np.testing.assert_array_equal(
        _predict(_oracle(known_scene, **noise), subset, [(0, 2)])[0, 2].points2, alone.points2
    )


def test_noise_is_as_large_as_asked(known_scene):
    _, scene, images = known_scene
    edges = [(i, j) for i in range(7) for j in range(7) if i != j]
    for kind in ("depth", "pixel"):
        errors = []
        for (i, _), prediction in _predict(_oracle(known_scene, **{kind: 0.02}), images, edges[:6]).items():
            known = scene.depths[i] > 0
            log_ratio = np.log(prediction.points1[..., 2][known] / scene.depths[i][known])
            errors.append((log_ratio - log_ratio.mean()).std())
        assert 0.012 < np.mean(errors) < 0.028, kind
    errors = [
        rotation_angle(_relative(prediction, scene, j)[0][:, :3] @ _rotation(scene, i, j).T)
        for (i, j), prediction in _predict(_oracle(known_scene, rotation=2.0), images, edges).items()
    ]
    assert 1.3 < np.sqrt(np.mean(np.square(errors))) < 2.7


def test_wrong_pairs_are_wrong_both_ways(known_scene):
    _, scene, images = known_scene
    edges = [(i, j) for i in range(7) for j in range(7) if i != j]
    wrong = {
        (i, j): rotation_angle(_relative(prediction, scene, j)[0][:, :3] @ _rotation(scene, i, j).T) > 10
        for (i, j), prediction in _predict(_oracle(known_scene, wrong_pairs=0.3), images, edges).items()
    }
    assert 0.1 < np.mean(list(wrong.values())) < 0.5
    assert all(wrong[i, j] == wrong[j, i] for i, j in edges)


def _rotation(scene, i, j):
    return compose(scene.cam_from_world[i], invert(scene.cam_from_world[j]))[:, :3]


def test_descriptors_rank_by_overlap(known_scene):
    descriptors = _oracle(known_scene).describe(known_scene[2].views)
    similarity_to_first = descriptors @ descriptors[0]
    assert similarity_to_first[0] == pytest.approx(1, abs=1e-5)
    assert similarity_to_first[1] > similarity_to_first[6]


def test_unknown_photographs_are_named(known_scene):
    images, oracle = known_scene[2], _oracle(known_scene)
    with pytest.raises(PredictorError, match=r"no photograph other\.jpg"):
        oracle.encode([replace(images.views[0], name="other.jpg")])
    with pytest.raises(PredictorError, match=r"courtyard_00\.jpg in another size"):
        oracle.encode([replace(images.views[0], network_from_image=np.eye(3))])


def test_a_missing_scene_is_one_sentence(tmp_path):
    with pytest.raises(WeightsError, match="add --weights"):
        OraclePredictor(PredictOptions(predictor="oracle"), 0)
    with pytest.raises(InputError, match=r"nothing\.h5"):
        OraclePredictor(PredictOptions(predictor="oracle", weights=str(tmp_path / "nothing.h5")), 0)
