"""Judging: held-out matches know nothing of the others, and only sure gains count."""

import numpy as np

from dust3r_sfm.colmap.camera_models import straighten_with, with_lens
from dust3r_sfm.colmap.model import NO_TRACKS, reconstruction_from_scene
from dust3r_sfm.refinement.adjust import of_images
from dust3r_sfm.refinement.held_out import epipolar_errors, is_better, split, without
from dust3r_sfm.types import Matches


def test_no_keypoint_is_on_both_sides(room_matches) -> None:
    shown, held_out = split(room_matches)
    total = sum(len(pair.xy1) for pair in room_matches)
    kept = sum(len(pair.xy1) for pair in held_out)
    assert sum(len(pair.xy1) for pair in shown) + kept == total
    assert 0.05 < kept / total < 0.2

    def ends(matches: list[Matches]) -> set[tuple[int, float, float]]:
        return {
            (image, *xy)
            for pair in matches
            for image, positions in ((pair.image1, pair.xy1), (pair.image2, pair.xy2))
            for xy in positions.tolist()
        }

    assert len(ends(shown) & ends(held_out)) < 0.02 * len(ends(held_out))
    assert split([]) == ([], [])


def test_only_sure_gains_count() -> None:
    random = np.random.default_rng(0)
    before = np.abs(random.normal(size=2000))
    assert is_better(before, 0.9 * before)
    assert not is_better(0.9 * before, before)
    assert not is_better(before, 0.9 * before, sure=300.0)
    assert not is_better(before, before)
    assert not is_better(before, np.abs(random.normal(size=2000)))
    assert not is_better(np.zeros(0), np.zeros(0))
    # How wrong a wrong match is says nothing.
    assert not is_better(np.append(before, 1e6), np.append(1.0001 * before, 5.0))


def test_what_tracks_left_out_is_whole(room_matches, room_tracks) -> None:
    half = of_images(room_tracks, np.arange(room_tracks.image_of.max() + 1) < 3)
    left = without(room_matches, half)
    assert 0 < sum(len(pair.xy1) for pair in left) < sum(len(pair.xy1) for pair in room_matches)
    for before, pair in zip(room_matches, left, strict=True):
        for image, xy in ((pair.image1, pair.xy1), (pair.image2, pair.xy2)):
            held = {tuple(place) for place in half.xy[half.image_of == image].tolist()}
            assert held.isdisjoint(map(tuple, xy.tolist()))
        assert before.image1 >= 3 or len(pair.xy1) < len(before.xy1)


def test_errors_are_those_of_the_cameras(room) -> None:
    model = reconstruction_from_scene(room.scene, NO_TRACKS)
    random = np.random.default_rng(0)
    xyz = random.uniform(-1, 1, (50, 3)) * [1.0, 1.0, 0.3] + [0.0, 0.0, 2.0]
    model = with_lens(model, "OPENCV", np.zeros(len(room.views), bool))
    for camera in model.cameras.values():
        camera.params = [*camera.params[:4], 0.05, -0.02, 0.001, 0.002]
    xy1, xy2 = (np.array([model.images[image_id].project_point(point) for point in xyz]) for image_id in (1, 2))
    matches = [Matches(image1=0, image2=1, xy1=xy1, xy2=xy2, confidence=np.ones(len(xyz)))]
    assert epipolar_errors(model, matches).max() < 1e-6
    moved = [Matches(image1=0, image2=1, xy1=xy1, xy2=xy2 + np.array([0.0, 3.0]), confidence=np.ones(len(xyz)))]
    assert np.median(epipolar_errors(model, moved)) > 0.1
    missing = [Matches(image1=0, image2=99, xy1=xy1, xy2=xy2, confidence=np.ones(len(xyz)))]
    assert np.isnan(epipolar_errors(model, missing)).all()


def test_straight_pixels_are_those_of_the_pinhole(room) -> None:
    model = reconstruction_from_scene(room.scene, NO_TRACKS)
    xy = np.array([[10.0, 20.0], [600.0, 400.0]])
    assert np.array_equal(straighten_with(model)(0, xy), xy)
    radial = with_lens(model, "SIMPLE_RADIAL", np.zeros(len(room.views), bool))
    assert np.allclose(straighten_with(radial)(0, xy), xy)
    camera = radial.images[1].camera
    camera.params = [*camera.params[:3], -0.1]
    straight = straighten_with(radial)(0, xy)
    assert np.abs(straight - xy).max() > 1.0
    rays = (straight - camera.params[1:3]) / camera.params[0]
    back = [camera.img_from_cam(np.append(ray, 1.0)) for ray in rays]
    assert np.allclose(back, xy, atol=1e-6)
    assert np.array_equal(straighten_with(radial)(99, xy), xy)
