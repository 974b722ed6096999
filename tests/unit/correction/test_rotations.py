"""Pairs say which rotations are wrong, and average to the true ones."""

import itertools

import numpy as np
import pytest

from dust3r_sfm.correction.relative import Relation
from dust3r_sfm.correction.rotations import agreeing, averaged, contradictions
from dust3r_sfm.geometry.transforms import compose, invert, rotation_angle, rotation_exp
from dust3r_sfm.system._pycolmap import Reconstruction, pycolmap
from dust3r_sfm.types import Matches

COUNT = 8
RNG = np.random.default_rng(11)
TRUE = np.concatenate([rotation_exp(RNG.normal(size=(COUNT, 3))), RNG.normal(size=(COUNT, 3, 1))], axis=2)


def relations(wrong: tuple[tuple[int, int], ...] = ()) -> list[Relation]:
    found = []
    for i, j in itertools.combinations(range(COUNT), 2):
        pose = compose(TRUE[j], invert(TRUE[i]))
        if (i, j) in wrong:
            pose = compose(np.column_stack([rotation_exp(np.array([0.0, 1.2, 0.3])), np.zeros(3)]), pose)
        nothing = np.zeros((50, 2))
        matches = Matches(image1=i, image2=j, xy1=nothing, xy2=nothing, confidence=np.ones(50))
        found.append(Relation(matches=matches, cam2_from_cam1=pose))
    return found


def model() -> Reconstruction:
    made = pycolmap.Reconstruction()
    camera = pycolmap.Camera(model="SIMPLE_PINHOLE", width=640, height=480, params=[500, 320, 240])
    camera.camera_id = 1
    made.add_camera_with_trivial_rig(camera)
    for index in range(COUNT):
        image = pycolmap.Image(f"{index}.jpg", np.zeros((0, 2)), 1, index + 1)
        made.add_image_with_trivial_frame(image, pycolmap.Rigid3d(np.eye(3, 4)))
    return made


def given(degrees: float) -> np.ndarray:
    axes = np.random.default_rng(2).normal(size=(COUNT, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return rotation_exp(np.radians(degrees) * axes) @ TRUE[:, :, :3]


@pytest.mark.parametrize("degrees", [0.0, 1.0, 5.0, 7.0])
def test_rough_rotations_contradict_nothing(degrees):
    angles, wrong = contradictions(relations(), given(degrees))
    assert angles.max() <= 2 * degrees + 1e-6
    assert not wrong.any()


def test_a_wrong_camera_is_named_and_only_that_one():
    rotations = given(5.0)
    rotations[3] = rotation_exp(np.array([1.0, 0.5, 0.0])) @ rotations[3]
    angles, wrong = contradictions(relations(), rotations)
    assert np.flatnonzero(wrong).tolist() == [3]
    assert (angles > 15.0).sum() == COUNT - 1


def test_a_wrong_pair_accuses_nobody():
    angles, wrong = contradictions(relations(wrong=((0, 1), (2, 5))), given(3.0))
    assert not wrong.any()
    assert (angles > 15.0).sum() == 2


def test_averages_are_the_true_rotations_without_the_wrong_pairs():
    pairs = relations(wrong=((0, 1), (2, 5)))
    rotations = averaged(pairs, model(), seed=0)
    assert rotations is not None
    turn = np.swapaxes(TRUE[:, :, :3], 1, 2) @ rotations
    assert rotation_angle(np.swapaxes(turn[:1], 1, 2) @ turn).max() < 0.5
    kept = {(one.matches.image1, one.matches.image2) for one in agreeing(pairs, rotations)}
    assert len(kept) == len(pairs) - 2
    assert not kept & {(0, 1), (2, 5)}
