import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dust3r_sfm.errors import InputError
from dust3r_sfm.pairs.graph import (
    bridges,
    components,
    graph_warnings,
    pair_graph,
    read_pairs,
    weak_images,
    write_pairs,
)

NUM_IMAGES = 9
edge_lists = st.lists(
    st.tuples(st.integers(0, NUM_IMAGES - 1), st.integers(0, NUM_IMAGES - 1)).filter(lambda edge: edge[0] != edge[1]),
    max_size=25,
)


def graph_of(edges, num_images=NUM_IMAGES):
    return pair_graph(num_images, np.array(edges, dtype=np.int64).reshape(-1, 2))


@given(edge_lists)
def test_pairs_are_unique_sorted_and_ascending(edges):
    graph = graph_of(edges)

    assert [tuple(edge) for edge in graph.edges.tolist()] == sorted({(min(edge), max(edge)) for edge in edges})
    assert len(graph.weights) == len(graph.edges)


def test_a_pair_keeps_its_largest_weight():
    graph = pair_graph(3, np.array([[1, 0], [0, 1], [2, 1], [2, 2]]), np.array([0.2, 0.7, 0.5, 9.0]))
    assert graph.edges.tolist() == [[0, 1], [1, 2]]
    assert graph.weights.tolist() == [0.7, 0.5]


@given(edge_lists)
def test_components_partition_the_images(edges):
    groups = components(graph_of(edges))

    assert sorted(index for group in groups for index in group) == list(range(NUM_IMAGES))
    assert [len(group) for group in groups] == sorted((len(group) for group in groups), reverse=True)
    group_of = {index: number for number, group in enumerate(groups) for index in group}
    assert all(group_of[i] == group_of[j] for i, j in edges)


@given(edge_lists)
def test_a_bridge_is_a_pair_whose_removal_splits_a_component(edges):
    graph = graph_of(edges)
    pairs = [tuple(edge) for edge in graph.edges.tolist()]

    num_components = len(components(graph))
    expected = [
        pair
        for pair in pairs
        if len(components(graph_of([other for other in pairs if other != pair]))) > num_components
    ]
    assert bridges(graph) == expected


@given(edge_lists)
def test_weak_images_have_at_most_one_partner(edges):
    partners = [{a + b - index for a, b in edges if index in (a, b)} for index in range(NUM_IMAGES)]
    assert weak_images(graph_of(edges)) == [index for index in range(NUM_IMAGES) if len(partners[index]) <= 1]


def test_a_long_chain_is_all_bridges():
    chain = [(index, index + 1) for index in range(4999)]
    assert bridges(graph_of(chain, 5000)) == chain


def test_warnings_name_what_is_weak():
    names = [f"{letter}.jpg" for letter in "abcdefghij"]
    triangles = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (3, 5)]
    apart, hanging, joint = graph_warnings(graph_of([*triangles, (5, 6), (7, 8)], 10), names)

    assert "3 separate groups" in apart and "7 of 10" in apart and "h.jpg, i.jpg and j.jpg" in apart
    assert hanging == "g.jpg hangs on a single pair."
    assert joint == "Only the pair c.jpg and d.jpg joins the two halves of the model."


def test_a_sound_graph_gives_no_warning():
    assert graph_warnings(graph_of([(0, 1), (1, 2), (0, 2)], 3), ["a", "b", "c"]) == []
    assert graph_warnings(graph_of([(0, 1)], 2), ["a", "b"]) == []


@pytest.mark.parametrize("names", [["a.jpg", "s/b.jpg", "é.png"], ["my a.jpg", "b\u202fc.jpg", "d.jpg"]])
def test_pairs_survive_the_file(tmp_path, names):
    graph = graph_of([(0, 1), (2, 1), (0, 2)], 3)
    write_pairs(tmp_path / "pairs.txt", names, graph)

    again = read_pairs(tmp_path / "pairs.txt", names)
    np.testing.assert_array_equal(again.edges, graph.edges)
    separator = "\t" if " " in names[0] else " "
    assert (tmp_path / "pairs.txt").read_text(encoding="utf-8").split("\n")[0] == f"{names[0]}{separator}{names[1]}"


def test_duplicates_reversals_blank_lines_and_windows_files_are_fine(tmp_path):
    (tmp_path / "pairs.txt").write_bytes(b"\xef\xbb\xbfa b\r\n\r\nb a\r\n a  b\r\nc gone\r\nb\tc")
    graph = read_pairs(tmp_path / "pairs.txt", ["a", "b", "c"], left_out={"gone"})
    assert graph.edges.tolist() == [[0, 1], [1, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b\na\n", "Line 2 .* is not a pair"),
        ("a b c\n", "Line 1 .* is not a pair: it needs two names, parted by a tab"),
        ("a b\nb b\n", "Line 2 .* pairs b with itself"),
        ("a b\n\na z\n", "Line 3 .* names z, which is not among the photographs"),
    ],
)
def test_mistakes_are_named_by_their_line(tmp_path, text, message):
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_pairs(tmp_path / "pairs.txt", ["a", "b", "c"])


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"There is no list of pairs .*nowhere\.txt"):
        read_pairs(tmp_path / "nowhere.txt", ["a"])
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="give a text file in UTF-8"):
        read_pairs(tmp_path / "binary", ["a"])
