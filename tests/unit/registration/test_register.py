"""Photographs that the alignment left out come back to where they were, or stay out with the link that is missing."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.alignment.frame.metric import transform_scene
from dust3r_sfm.colmap.camera_models import cameras_of
from dust3r_sfm.colmap.images import with_image, without_images
from dust3r_sfm.features.features import Features
from dust3r_sfm.geometry import transforms
from dust3r_sfm.options import RefineOptions
from dust3r_sfm.refinement.refine import refine
from dust3r_sfm.registration.matcher import FirstOf, GivenMatcher, KeypointMatcher
from dust3r_sfm.registration.part import Part
from dust3r_sfm.registration.register import Registration, register
from dust3r_sfm.tracks.cameras import posed_cameras
from dust3r_sfm.types import Scene

PINHOLE = RefineOptions(refine="keypoints", camera_model="SIMPLE_PINHOLE", principal_point="keep")
LENS_OF_ITS_OWN = 4
"""The one photograph of the room that shares its camera with no other."""


def only(scene: Scene, images: Collection[int]) -> Scene:
    """The scene as an alignment leaves it that placed some of its images."""
    placed = np.isin(np.arange(len(scene.names)), list(images))
    return replace(
        scene,
        registered=placed,
        cam_from_world=np.where(placed[:, None, None], scene.cam_from_world, np.eye(3, 4)),
        depths=tuple(depth if is_placed else 0 * depth for depth, is_placed in zip(scene.depths, placed, strict=True)),
        edge_weights=np.where(placed[scene.edges].all(1), scene.edge_weights, 0.0),
    )


def part_of(scene: Scene, features: Sequence[Features], images: Collection[int]) -> Part:
    """Some images, refined."""
    placed = only(scene, images)
    return Part(scene=placed, refinement=refine(placed, (), features, PINHOLE), found=())


def errors(scene: Scene, part: Part) -> tuple[float, float]:
    """Largest errors of relative rotations in degrees, and of relative positions in the room's units."""
    truth, found = posed_cameras(scene).cam_from_world[part.images], part.state.cameras.cam_from_world[part.images]
    turns = np.swapaxes(truth[:, :, :3], 1, 2) @ found[:, :, :3]
    spread = transforms.rotation_angle(turns[0].T @ turns).max()
    first, second = (transforms.apply(poses[0], transforms.centres(poses)) for poses in (truth, found))
    ratio = np.sum(first * second) / np.sum(second * second)
    return float(spread), float(np.abs(first - ratio * second).max())


def foreign(features: Features) -> Features:
    """The same places with other looks, as photographs of somewhere else have them."""
    order = np.random.default_rng(9).permutation(features.descriptors.shape[1])
    return replace(features, descriptors=features.descriptors[:, order])


@pytest.fixture(scope="module")
def features(room, make_features: Callable) -> list[Features]:
    return make_features(room, num_points=3000, noise=0.2)


@pytest.mark.parametrize("missing", [(1,), (LENS_OF_ITS_OWN,), (2, 3, LENS_OF_ITS_OWN)])
def test_photographs_come_back(room, features, missing) -> None:
    part = part_of(room.scene, features, set(range(6)) - set(missing))
    registration = register([part], KeypointMatcher(features), features)
    assert registration.left_out == {} and registration.apart == ()
    (grown,) = registration.parts
    assert grown.images == list(range(6)) and sorted(grown.added) == list(missing)
    rotation, position = errors(room.scene, grown)
    assert rotation < 0.1 and position < 0.01
    assert np.allclose(cameras_of(grown.refinement.model, 6).matrices[:, 0, 0], room.raw_focals, rtol=5e-3)


def test_without_keypoints_to_look_at_again(room, features) -> None:
    """Whoever found the matches, the photograph is placed."""
    part, match = part_of(room.scene, features, {0, 1, 3, 5}), KeypointMatcher(features)
    given = GivenMatcher([match(i, j) for i in (0, 1, 3, 5) for j in (2, 4)])
    for matcher in (given, FirstOf([GivenMatcher(()), match])):
        (grown,) = register([part], matcher).parts
        assert grown.images == list(range(6))
        rotation, position = errors(room.scene, grown)
        assert rotation < 0.1 and position < 0.02


def test_a_known_camera_stays(room, features) -> None:
    """A photograph takes over the camera of its group to the last digit, and old cameras do not move without need."""
    exact = Part(
        scene=only(room.scene, {0, 1, 3, 5}),
        refinement=replace(part_of(room.scene, features, {0, 1, 3, 5}).refinement, applied=False),
        found=(),
    )
    (grown,) = register([exact], KeypointMatcher(features), features).parts
    model, before = grown.refinement.model, exact.refinement.model
    assert model.images[3].camera_id == model.images[1].camera_id != model.images[LENS_OF_ITS_OWN + 1].camera_id
    for image_id, image in before.images.items():
        assert np.array_equal(image.cam_from_world().matrix(), model.images[image_id].cam_from_world().matrix())
        assert np.array_equal(image.camera.params, model.images[image_id].camera.params)


def test_a_photograph_of_another_place_stays_out(room, features) -> None:
    strange = [*features[:5], foreign(features[5])]
    part = part_of(room.scene, strange, {0, 1, 2, 3, 4})
    registration = register([part], KeypointMatcher(strange), strange)
    assert registration.parts[0].images == [0, 1, 2, 3, 4] and list(registration.left_out) == [5]


def test_the_missing_link_is_named(room, features) -> None:
    """Ten keypoints in common are too few to believe, and enough to say where a photograph is missing."""
    rows = np.flatnonzero(np.isin(features[5].descriptors[:, 0], features[4].descriptors[:, 0]))[:20]
    few = [*features[:5], features[5].of(rows)]
    part = part_of(room.scene, few, {0, 1, 2, 3, 4})
    registration = register([part], KeypointMatcher(few), few)
    link = registration.left_out[5]
    assert link is not None and 10 <= link.num_agreeing < 30
    sentence = link.of_image(room.scene.names)
    assert room.scene.names[link.image2] in sentence and f"{link.num_agreeing} matches that agree" in sentence


def test_a_photograph_at_a_wrong_place_is_moved(room, features) -> None:
    """It hangs on nothing that its keypoints say, so it is tried against the others and put where it belongs."""
    part = part_of(room.scene, features, range(6))
    pose = part.state.cameras.cam_from_world[5].copy()
    pose[:, :3] = transforms.rotation_exp(np.array([[0.0, 0.5, 0.0]]))[0] @ pose[:, :3]
    pose[:, 3] += [0.3, 0.0, -0.2]
    before = part.refinement.model
    camera = before.cameras[before.images[6].camera_id]
    wrong = with_image(without_images(before, {5}), 5, room.scene.names[5], pose, camera)
    disturbed = replace(part, refinement=replace(part.refinement, model=wrong))
    assert errors(room.scene, disturbed)[0] > 20
    (mended,) = register([disturbed], KeypointMatcher(features), features).parts
    rotation, position = errors(room.scene, mended)
    assert rotation < 0.1 and position < 0.01 and mended.added == (5,)
    (same,) = register([part], KeypointMatcher(features), features).parts
    assert same.added == () and np.array_equal(same.state.cameras.cam_from_world, part.state.cameras.cam_from_world)


def two_parts(room, features: Sequence[Features]) -> list[Part]:
    """Two halves of the room, the second in a frame of its own."""
    second_from_room = np.eye(4)
    second_from_room[:3, :3] = 1.7 * transforms.rotation_exp(np.array([[0.4, -0.9, 0.3]]))[0]
    second_from_room[:3, 3] = [3.0, -1.0, 0.5]
    moved = transform_scene(only(room.scene, {3, 4, 5}), second_from_room)
    return [part_of(room.scene, features, {0, 1, 2}), part_of(moved, features, {3, 4, 5})]


def test_parts_are_joined(room, features) -> None:
    registration = register(two_parts(room, features), KeypointMatcher(features), features)
    (whole,) = registration.parts
    assert whole.images == list(range(6)) and registration.apart == ()
    rotation, position = errors(room.scene, whole)
    assert rotation < 0.15 and position < 0.02
    # Depth maps come along in the unit of the whole.
    ratios = [np.median(found / true) for found, true in zip(whole.scene.depths, room.scene.depths, strict=True)]
    assert np.allclose(ratios, 1.0, atol=0.02) and whole.scene.registered.all()


def test_parts_without_anything_in_common_stay_apart(room, features) -> None:
    mixed = [*features[:3], *map(foreign, features[3:])]
    registration = register(two_parts(room, mixed), KeypointMatcher(mixed), mixed)
    assert [part.images for part in registration.parts] == [[0, 1, 2], [3, 4, 5]]
    assert len(registration.apart) == 1 and registration.left_out == {}


def test_a_photograph_joins_the_part_that_it_belongs_to(room, features) -> None:
    """Of two places in one folder, the smaller gets its own photographs back."""
    mixed = [*features[:2], *map(foreign, features[2:])]
    parts = [part_of(room.scene, mixed, images) for images in ({0, 1}, {2, 3, 4})]
    registration = register(parts, KeypointMatcher(mixed), mixed)
    assert [part.images for part in registration.parts] == [[2, 3, 4, 5], [0, 1]]
    assert registration.left_out == {}


def test_the_same_twice(room, features) -> None:
    def poses(registration: Registration) -> np.ndarray:
        return registration.parts[0].state.cameras.cam_from_world

    part = part_of(room.scene, features, {0, 1, 3})
    first, second = (poses(register([part], KeypointMatcher(features), features)) for _ in range(2))
    assert np.array_equal(first, second)
