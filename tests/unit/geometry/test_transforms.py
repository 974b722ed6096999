import numpy as np

from dust3r_sfm.geometry.transforms import (
    apply,
    centres,
    compose,
    invert,
    rotation_angle,
    rotation_exp,
    rotation_log,
)


def _random_transforms(rng: np.random.Generator, *batch: int) -> np.ndarray:
    return np.concatenate([rotation_exp(rng.normal(size=(*batch, 3))), rng.normal(size=(*batch, 3, 1))], axis=-1)


def test_invert_and_compose_agree_with_homogeneous_matrices():
    rng = np.random.default_rng(0)
    first, second = _random_transforms(rng, 2, 5), _random_transforms(rng, 5)
    bottom = np.array([0.0, 0.0, 0.0, 1.0])

    def homogeneous(transform: np.ndarray) -> np.ndarray:
        return np.concatenate([transform, np.broadcast_to(bottom, (*transform.shape[:-2], 1, 4))], axis=-2)

    np.testing.assert_allclose(
        homogeneous(compose(first, second)), homogeneous(first) @ homogeneous(second), atol=1e-12
    )
    np.testing.assert_allclose(homogeneous(invert(first)), np.linalg.inv(homogeneous(first)), atol=1e-12)


def test_apply_takes_rigid_and_similarity_transforms():
    rng = np.random.default_rng(1)
    rigid, points = _random_transforms(rng, 4), rng.normal(size=(4, 7, 3))
    similarity = np.concatenate([rigid, np.tile([[[0.0, 0, 0, 1]]], (4, 1, 1))], axis=1)
    similarity[:, :3, :3] *= 2.5
    wanted = np.einsum("bij,bnj->bni", rigid[:, :, :3], points)
    np.testing.assert_allclose(apply(rigid, points), wanted + rigid[:, None, :, 3], atol=1e-12)
    np.testing.assert_allclose(apply(similarity, points), 2.5 * wanted + rigid[:, None, :, 3], atol=1e-12)


def test_a_camera_sees_its_own_centre_at_the_origin():
    cam_from_world = _random_transforms(np.random.default_rng(2), 6)
    np.testing.assert_allclose(apply(cam_from_world, centres(cam_from_world)[:, None]), 0, atol=1e-12)


def test_rotation_vectors_make_the_round_trip_even_for_tiny_and_half_turns():
    axis = np.array([0.6, 0.0, 0.8])
    for angle in (0.0, 1e-9, 1e-4, 1.0, np.pi - 1e-7, np.pi):
        vector = rotation_log(rotation_exp(axis * angle))
        np.testing.assert_allclose(rotation_exp(vector), rotation_exp(axis * angle), atol=1e-9)
        np.testing.assert_allclose(rotation_angle(rotation_exp(axis * angle)), np.degrees(angle), atol=1e-6)
    np.testing.assert_allclose(rotation_angle(rotation_exp(axis * 1e-9)), np.degrees(1e-9), rtol=1e-6)
