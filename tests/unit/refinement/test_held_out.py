"""Judging: held-out matches know nothing of the others, and only sure gains count."""

from dataclasses import replace

import numpy as np

from dust3r_sfm.colmap.camera_models import cameras_of, with_camera_model
from dust3r_sfm.colmap.model import NO_TRACKS, reconstruction_from_scene
from dust3r_sfm.refinement.held_out import (
    epipolar_errors,
    has_lower_mean,
    hold_out,
    is_better,
    matches_outside_tracks,
)
from dust3r_sfm.types import Matches


def test_no_keypoint_is_on_both_sides(room_matches) -> None:
    # What a wrong match joins is one component but several tracks.
    wrong = [pair.take(np.arange(0, len(pair.xy1), 20)) for pair in room_matches]
    wrong = [replace(pair, xy2=np.roll(pair.xy2, 1, axis=0), confidence=0.1 * pair.confidence) for pair in wrong]
    matches = [*room_matches, *wrong]
    shown, held_out = hold_out(matches)
    total = sum(len(pair.xy1) for pair in matches)
    kept = sum(len(pair.xy1) for pair in held_out)
    assert 0.05 < kept / total < 0.2
    assert 0.97 * total < sum(len(pair.xy1) for pair in shown) + kept < total

    def ends(matches: list[Matches]) -> set[tuple[int, float, float]]:
        return {
            (image, *xy)
            for pair in matches
            for image, positions in ((pair.image1, pair.xy1), (pair.image2, pair.xy2))
            for xy in positions.tolist()
        }

    assert ends(shown).isdisjoint(ends(held_out))
    assert hold_out([]) == ([], [])


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


def test_a_lower_mean_must_be_sure() -> None:
    random = np.random.default_rng(0)
    before = np.abs(random.normal(size=2000))
    assert has_lower_mean(before, 0.9 * before, 3.0)
    assert not has_lower_mean(before, 0.9 * before, 300.0)
    assert not has_lower_mean(before, np.abs(random.normal(size=2000)), 3.0)
    assert not has_lower_mean(np.append(before, 1e6), np.append(1.0001 * before, 5.0), 3.0)


def test_most_matches_decide_not_the_distance_of_the_lost() -> None:
    """As of woods from above: a third of the matches is wrong in both, or lost by cameras that fit the others."""
    random = np.random.default_rng(0)
    coarse, fine = np.abs(random.normal(0, 1.8, 3000)), np.abs(random.normal(0, 0.5, 3000))
    lost = random.random(3000) < 0.3
    coarse[lost], after = np.abs(random.normal(0, 1.8, lost.sum())), np.where(lost, random.uniform(3, 30, 3000), fine)
    assert is_better(coarse, after)
    assert not is_better(after, coarse)
    # But where most are lost, that some fit perfectly is no gain.
    assert not is_better(coarse, np.where(random.random(3000) < 0.6, 30.0, 0.1 * fine))


def test_a_handful_of_matches_decides_nothing() -> None:
    random = np.random.default_rng(3)
    trials = [is_better(*np.abs(random.normal(size=(2, 12)))) for _ in range(300)]
    assert np.mean(trials) < 0.02


def test_images_that_get_worse_are_not_made_up_for_by_exact_ones() -> None:
    """Errors far below what the cameras had count no more than those that are simply good."""
    before = np.full(1000, 1.0)
    assert not is_better(before, np.where(np.arange(1000) < 400, 1e-4, 4.0))
    assert is_better(before, np.where(np.arange(1000) < 600, 1e-4, 4.0))


def test_what_tracks_left_out_is_whole(room_matches, room_tracks) -> None:
    half = room_tracks.take(room_tracks.image_of < 3)
    left = matches_outside_tracks(room_matches, half)
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
    model = with_camera_model(model, "OPENCV", np.zeros(len(room.views), bool))
    for camera in model.cameras.values():
        camera.params = [*camera.params[:4], 0.05, -0.02, 0.001, 0.002]
    cameras = cameras_of(model, len(room.views) + 1)
    xy1, xy2 = (np.array([model.images[image_id].project_point(point) for point in xyz]) for image_id in (1, 2))
    matches = [Matches(image1=0, image2=1, xy1=xy1, xy2=xy2, confidence=np.ones(len(xyz)))]
    assert epipolar_errors(cameras, matches).max() < 1e-6
    moved = [Matches(image1=0, image2=1, xy1=xy1, xy2=xy2 + np.array([0.0, 3.0]), confidence=np.ones(len(xyz)))]
    assert np.median(epipolar_errors(cameras, moved)) > 0.1
    missing = [Matches(image1=0, image2=len(room.views), xy1=xy1, xy2=xy2, confidence=np.ones(len(xyz)))]
    assert np.isnan(epipolar_errors(cameras, missing)).all()


def test_undistorted_pixels_are_those_of_the_pinhole(room) -> None:
    count = len(room.views)
    model = reconstruction_from_scene(room.scene, NO_TRACKS)
    xy = np.array([[10.0, 20.0], [600.0, 400.0]])
    assert np.array_equal(cameras_of(model, count).undistort(0, xy), xy)
    radial = with_camera_model(model, "SIMPLE_RADIAL", np.zeros(count, bool))
    assert np.allclose(cameras_of(radial, count).undistort(0, xy), xy)
    camera = radial.images[1].camera
    camera.params = [*camera.params[:3], -0.1]
    cameras = cameras_of(radial, count)
    undistorted = cameras.undistort(0, xy)
    assert np.abs(undistorted - xy).max() > 1.0
    rays = (undistorted - camera.params[1:3]) / camera.params[0]
    assert np.allclose(cameras.on_plane(0, xy), rays)
    back = [camera.img_from_cam(np.append(ray, 1.0)) for ray in rays]
    assert np.allclose(back, xy, atol=1e-6)
