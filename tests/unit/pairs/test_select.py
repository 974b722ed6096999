from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dust3r_sfm.errors import InputError
from dust3r_sfm.options import PairOptions
from dust3r_sfm.pairs.graph import components
from dust3r_sfm.pairs.select import (
    logarithmic_distances,
    looks_sequential,
    pairs_exhaustive,
    pairs_from_retrieval,
    pairs_sequential,
    select_pairs,
    window_distances,
)
from dust3r_sfm.types import Dropped, ImageSet, View


def image_set(names, dropped=()):
    views = tuple(
        View(
            name=name,
            path=Path(name),
            size=(64, 48),
            orientation=1,
            network_size=(64, 48),
            network_from_image=np.eye(3),
            focal_prior=None,
            camera_group=0,
        )
        for name in names
    )
    return ImageSet(
        root=Path("photographs"), views=views, dropped=tuple(Dropped(name=name, reason="bad") for name in dropped)
    )


def frames(count):
    return [f"frame_{index}.jpg" for index in range(count)]


def pairs_of(graph):
    return {tuple(edge) for edge in graph.edges.tolist()}


def never():
    raise AssertionError("descriptors are not needed here")


def on_a_circle(count, dimension=8, seed=0):
    """Descriptors of a walk around an object: neighbours are alike, the ends meet."""
    angles = 2 * np.pi * np.arange(count) / count
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(dimension, 2)))[0]
    return (np.stack([np.cos(angles), np.sin(angles)], axis=1) @ basis.T).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_exhaustive_pairs_are_all(count):
    assert pairs_of(pairs_exhaustive(count)) == {(i, j) for j in range(count) for i in range(j)}


@given(st.integers(0, 60), st.sets(st.integers(1, 70)))
def test_sequential_pairs_lie_within_their_distances(count, distances):
    expected = {(i, i + distance) for distance in distances for i in range(count) if i + distance < count}
    assert pairs_of(pairs_sequential(count, distances)) == expected


@given(st.integers(1, 60), st.sets(st.integers(1, 70)))
def test_on_a_ring_the_shorter_or_the_longer_way_round_is_a_distance(count, distances):
    expected = {(i, j) for j in range(count) for i in range(j) if {j - i, count - (j - i)} & distances}
    assert pairs_of(pairs_sequential(count, distances, cyclic=True)) == expected


def test_windows_are_those_of_dust3r_and_colmap():
    assert window_distances(4) == {1, 2, 3, 4}
    assert logarithmic_distances(4) == {1, 2, 4, 8}
    assert window_distances(0) == logarithmic_distances(0) == set()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"pairs": "swin", "window": 2}, "01 02 12 13 23 24 34 35 45"),
        ({"pairs": "swin", "window": 2, "cyclic": True}, "01 02 12 13 23 24 34 35 45 04 05 15"),
        ({"pairs": "swin", "window": 1, "cyclic": True}, "01 12 23 34 45 05"),
        ({"pairs": "logwin", "window": 3}, "01 02 04 12 13 15 23 24 34 35 45"),
        ({"pairs": "logwin", "window": 3, "cyclic": True}, "01 02 04 12 13 15 23 24 34 35 45 05"),
        ({"pairs": "logwin", "window": 1}, "01 12 23 34 45"),
        ({"pairs": "oneref"}, "01 02 03 04 05"),
        ({"pairs": "oneref", "pairs_reference": "frame_2.jpg"}, "02 12 23 24 25"),
        ({"pairs_reference": "frame_5.jpg"}, "05 15 25 35 45"),
    ],
)
def test_scene_graphs_of_dust3r(options, expected):
    graph = select_pairs(image_set(frames(6)), PairOptions(**options), never)
    assert graph.edges.tolist() == sorted([int(pair[0]), int(pair[1])] for pair in expected.split())


@given(st.integers(2, 40), st.integers(1, 6), st.booleans(), st.data())
def test_scene_graphs_say_of_every_pair_whether_it_belongs(count, window, cyclic, data):
    # names in the order of their text: frame_10 stands before frame_2, and the graphs follow the numbers
    images, reference = image_set(sorted(frames(count))), data.draw(st.integers(0, count - 1))
    number = [int(name[6:-4]) for name in images.names]
    swin, logwin, oneref = (
        {
            tuple(sorted((number[i], number[j])))
            for i, j in pairs_of(
                select_pairs(
                    images,
                    PairOptions(pairs=pairs, window=window, cyclic=cyclic, pairs_reference=f"frame_{reference}.jpg"),
                    never,
                )
            )
        }
        for pairs in ("swin", "logwin", "oneref")
    )
    for j in range(count):
        for i in range(j):
            ways = {j - i, count - (j - i)} if cyclic else {j - i}
            assert ((i, j) in swin) == (min(ways) <= window)
            assert ((i, j) in logwin) == bool(ways & {2**power for power in range(window)})
            assert ((i, j) in oneref) == (reference in (i, j))


def test_one_photograph_with_all_others_is_the_first_in_the_order_of_the_numbers():
    names = ["frame_10.jpg", "frame_11.jpg", "frame_9.jpg"]
    assert pairs_of(select_pairs(image_set(names), PairOptions(pairs="oneref"), never)) == {(0, 2), (1, 2)}


def test_sequential_is_both_windows_and_closes_a_ring():
    options = {"pairs": "sequential", "window": 3, "loop_closure": False}
    graphs = {
        (quadratic, cyclic): pairs_of(
            select_pairs(image_set(frames(20)), PairOptions(**options, quadratic=quadratic, cyclic=cyclic), never)
        )
        for quadratic in (False, True)
        for cyclic in (False, True)
    }
    assert graphs[True, False] - graphs[False, False] == {(i, i + 4) for i in range(16)}
    assert graphs[False, True] - graphs[False, False] == {(0, 17), (0, 18), (0, 19), (1, 18), (1, 19), (2, 19)}
    assert graphs[True, True] - graphs[False, True] == {(i, i + 4) for i in range(16)} | {(i, i + 16) for i in range(4)}


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**32 - 1), st.booleans())
def test_retrieval_pairs_are_unique_ascending_and_connected(count, num_retrieved, seed, clustered):
    rng = np.random.default_rng(seed)
    descriptors = rng.normal(size=(count, 4)).astype(np.float32)
    if clustered:
        descriptors = np.eye(4, dtype=np.float32)[rng.integers(0, 4, count)]
    graph = pairs_from_retrieval(descriptors, num_retrieved)

    assert graph.num_images == count
    assert (graph.edges[:, 0] < graph.edges[:, 1]).all()
    assert len(pairs_of(graph)) == len(graph.edges)
    assert len(components(graph)) == 1
    degrees = np.bincount(graph.edges.reshape(-1), minlength=count)
    assert degrees.min() >= min(num_retrieved, count - 1)
    unit = descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)
    np.testing.assert_allclose(
        graph.weights, (unit[graph.edges[:, 0]] * unit[graph.edges[:, 1]]).sum(axis=1), atol=1e-5
    )


def test_retrieval_agrees_with_a_full_sort():
    descriptors = np.random.default_rng(3).normal(size=(300, 16)).astype(np.float32)
    unit = descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1)[:, :5]
    expected = {(min(i, j), max(i, j)) for i, row in enumerate(nearest.tolist()) for j in row}

    assert pairs_of(pairs_from_retrieval(descriptors, 5)) == expected


def test_equal_similarities_go_to_the_lower_index():
    cluster = np.random.default_rng(1).permutation(np.arange(60) % 3)
    graph = pairs_from_retrieval(np.eye(3, dtype=np.float32)[cluster], 4)

    expected = set()
    for index in range(60):
        alike = [other for other in np.flatnonzero(cluster == cluster[index]).tolist() if other != index]
        expected |= {(min(index, other), max(index, other)) for other in alike[:4]}
    assert {(i, j) for i, j in pairs_of(graph) if cluster[i] == cluster[j]} == expected


def test_clusters_are_joined_by_their_most_similar_images():
    descriptors = np.concatenate([on_a_circle(20)[:6], on_a_circle(20)[9:15]])  # an arc, a gap, another arc
    graph = pairs_from_retrieval(descriptors, 2)
    between = {(i, j) for i, j in pairs_of(graph) if i < 6 <= j}
    assert between == {(5, 6)}


def test_descriptors_without_content_do_no_harm():
    descriptors = on_a_circle(10)
    descriptors[3], descriptors[7, 0] = 0.0, np.nan
    graph = pairs_from_retrieval(descriptors, 2)
    assert len(components(graph)) == 1 and np.isfinite(graph.weights).all()


def test_auto_takes_all_pairs_of_few_photographs_without_looking_at_them():
    graph = select_pairs(image_set(frames(16)), PairOptions(), never)
    assert len(graph.edges) == 120


def test_auto_retrieves_among_many():
    names = [f"{chr(97 + index)}.jpg" if index < 26 else f"x{chr(97 + index - 26)}.jpg" for index in range(40)]
    graph = select_pairs(image_set(names), PairOptions(num_retrieved=2), lambda: on_a_circle(40))
    assert pairs_of(graph) == {(min(i, (i + 1) % 40), max(i, (i + 1) % 40)) for i in range(40)}


def test_auto_adds_the_neighbours_of_numbered_frames_in_the_order_of_their_numbers():
    names = sorted(frames(40))
    graph = select_pairs(image_set(names), PairOptions(num_retrieved=1), lambda: np.eye(40, dtype=np.float32))
    nine, ten = names.index("frame_9.jpg"), names.index("frame_10.jpg")
    assert (min(nine, ten), max(nine, ten)) in pairs_of(graph)


def test_sequential_follows_numbers_and_closes_loops():
    names = sorted(frames(20))
    options = PairOptions(pairs="sequential", window=1, quadratic=False, loop_closure=False)
    graph = select_pairs(image_set(names), options, never)
    numbers = sorted(tuple(sorted((int(names[i][6:-4]), int(names[j][6:-4])))) for i, j in graph.edges.tolist())
    assert numbers == [(index, index + 1) for index in range(19)]

    descriptors = on_a_circle(20)[[int(name[6:-4]) for name in names]]
    options = PairOptions(pairs="sequential", window=1, quadratic=False, num_retrieved=2)
    closed = select_pairs(image_set(names), options, lambda: descriptors)
    first, last = names.index("frame_0.jpg"), names.index("frame_19.jpg")
    assert pairs_of(closed) == pairs_of(graph) | {(min(first, last), max(first, last))}


def test_a_pairs_file_decides_under_auto_and_may_name_what_was_left_out(tmp_path):
    (tmp_path / "pairs.txt").write_text("a b\nb bad\n")
    graph = select_pairs(image_set(["a", "b", "c"], ["bad"]), PairOptions(pairs_file=tmp_path / "pairs.txt"), never)
    assert pairs_of(graph) == {(0, 1)}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["IMG_0001.JPG", "IMG_0002.JPG", "IMG_0017.JPG"], True),
        (["cam0/frame_1.png", "cam0/frame_2.png"], True),
        (["church.jpg", "12_tower.jpg", "gate.jpg"], False),
        (["02928139_3448003521.jpg", "03903474_1471484089.jpg", "10265353_3838484249.jpg"], False),
    ],
)
def test_numbered_names_look_sequential(names, expected):
    assert looks_sequential(names) is expected


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (1, PairOptions(), "has 1 usable photograph: a model needs at least two"),
        (3, PairOptions(pairs="file"), "--pairs-file"),
        (3, PairOptions(pairs="poses"), "--pairs-poses"),
        (3, PairOptions(pairs="retrieval"), "no global descriptors"),
        (3, PairOptions(pairs="oneref", pairs_reference="other.jpg"), "names other.jpg, which is not among the photo"),
        (3, PairOptions(pairs="swin", window=0), "gives no pair"),
        (3, PairOptions(pairs="sequential", window=0, loop_closure=False), "gives no pair"),
    ],
)
def test_what_is_missing_is_said(count, options, message):
    with pytest.raises(InputError, match=message):
        select_pairs(image_set(frames(count)), options, lambda: None)


def test_thousands_of_photographs_fit():
    descriptors = np.random.default_rng(0).normal(size=(3000, 32)).astype(np.float32)
    descriptors[1500:, 0] += 50
    graph = pairs_from_retrieval(descriptors, 5)
    assert len(components(graph)) == 1
    assert 3000 * 5 / 2 <= len(graph.edges) <= 3000 * 5 + 10
