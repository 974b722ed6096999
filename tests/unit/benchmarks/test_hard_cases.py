"""The cases are what they say, and their figures follow from poses."""

import numpy as np
import pytest

from benchmarks.hard_cases import errors_of, names_rest
from benchmarks.scenes.hard import SIZE, Photograph, level, orbit, painted, ring, shot_at, texels
from dust3r_sfm.geometry.transforms import compose
from dust3r_sfm.synthetic.world import World


@pytest.fixture
def ground() -> World:
    rng = np.random.default_rng(0)
    return painted([level(4.0, 0.0)], [rng.uniform(size=(64, 64, 3)).astype(np.float32)])


@pytest.fixture
def taken(ground: World) -> list[Photograph]:
    return ring(ground, 3.0, 2.0, np.zeros(3), np.random.default_rng(1), num=5)


def test_cameras_stand_around_and_look_at_the_middle(taken: list[Photograph]) -> None:
    assert [each.shot.name for each in taken] == [f"IMG_{i:02d}.jpg" for i in range(5)]
    for each in taken:
        middle = each.shot.cam_from_world[:, 3]
        assert middle[2] > 3 and np.hypot(*middle[:2]) < 0.3


def test_a_turned_photograph_is_stored_sideways_without_saying_so(ground: World) -> None:
    rng = np.random.default_rng(0)
    place = orbit(np.array([20.0]), 3.0, 2.0)[0]
    upright, sideways = (shot_at("a.jpg", place, np.zeros(3), rng, is_turned=turned) for turned in (False, True))
    assert upright.size == sideways.size == SIZE
    assert (upright.raw_cam_from_world[:, :3] @ [0, 0, -1])[1] > 0.5
    assert abs((sideways.raw_cam_from_world[:, :3] @ [0, 0, -1])[0]) > 0.5
    assert not len(Photograph(shot=sideways, world=ground, has_exif=False).exif())
    assert len(Photograph(shot=upright, world=ground).exif())


def test_a_night_is_darker_and_noisier(taken: list[Photograph]) -> None:
    day, night = (
        Photograph(shot=taken[0].shot, world=taken[0].world, is_night=is_night).take(np.random.default_rng(0))
        for is_night in (False, True)
    )
    assert day.shape == (SIZE[1], SIZE[0], 3) and night.mean() < 0.7 * day.mean()


def test_errors_are_zero_of_the_truth_in_any_world(taken: list[Photograph]) -> None:
    world = np.array([[0.0, -1, 0, 3], [1, 0, 0, -2], [0, 0, 1, 1]])
    model = {each.shot.name: compose(each.shot.raw_cam_from_world, world) for each in taken}
    within, overall = errors_of(taken, [model])
    assert len(within) == len(overall) == 10
    np.testing.assert_allclose([within, overall], 0, atol=1e-4)


def test_what_is_not_registered_counts_in_the_whole_only(taken: list[Photograph]) -> None:
    model = {each.shot.name: each.shot.raw_cam_from_world for each in taken[:3]}
    within, overall = errors_of(taken, [model])
    assert len(within) == 3 and (overall > 170).sum() == 7
    other = {each.shot.name: each.shot.raw_cam_from_world for each in taken[3:]}
    assert [len(each) for each in errors_of(taken, [model, other])] == [4, 10]


def test_two_scenes_in_one_model_are_wrong(taken: list[Photograph]) -> None:
    second = [Photograph(shot=each.shot, world=each.world, scene=int(i > 2)) for i, each in enumerate(taken)]
    model = {each.shot.name: each.shot.raw_cam_from_world for each in taken}
    within, overall = errors_of(second, [model])
    assert (within > 170).sum() == 6 and len(overall) == 4
    np.testing.assert_allclose(overall, 0, atol=1e-4)


def test_a_summary_names_the_rest_or_counts_it() -> None:
    assert names_rest("all is well", [], 3)
    assert names_rest("no pair shows b.jpg, c.jpg", ["b.jpg", "c.jpg"], 9)
    assert names_rest("12 of 40 photographs not placed: a.jpg and 11 more", [f"{i}.jpg" for i in range(12)], 40)
    assert not names_rest("no pair shows b.jpg", ["b.jpg", "c.jpg"], 9)


def test_texels_follow_the_metres() -> None:
    assert texels(2.0, 1.0)[0] == 2 * texels(1.0, 1.0)[1]
