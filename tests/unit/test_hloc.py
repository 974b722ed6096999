"""What hloc's files agree on: the pixel origin, both names of a pair in either order, lines of pairs.txt."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dust3r_sfm.errors import InputError
from dust3r_sfm.hloc import pair_name, read_keypoints, read_matches, require_rows, split_pair, write_keypoints

QUERY, IMAGE = "query/day/a.jpg", "db/b.jpg"


def test_the_first_pixels_centre_is_hlocs_zero_and_our_half(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as h5:
        write_keypoints(h5.create_group("a.jpg"), np.array([[0.5, 0.5], [3.25, 7.0]]))
        np.testing.assert_array_equal(h5["a.jpg/keypoints"][()], np.float32([[0, 0], [2.75, 6.5]]))
        np.testing.assert_array_equal(read_keypoints(h5, "a.jpg", tmp_path), [[0.5, 0.5], [3.25, 7.0]])
        h5.create_group("sift.jpg")["keypoints"] = np.float16([[1, 2, 9, 9]])  # with scale and angle
        np.testing.assert_array_equal(read_keypoints(h5, "sift.jpg", tmp_path), [[1.5, 2.5]])
        with pytest.raises(InputError, match=r"no keypoints of b\.jpg"):
            read_keypoints(h5, "b.jpg", tmp_path)


@pytest.mark.parametrize("separator", ["/", "_"], ids=["present", "legacy"])
@pytest.mark.parametrize("scores", [True, False])
def test_a_pair_is_found_under_either_name_in_either_order(tmp_path: Path, separator: str, scores: bool) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as h5:
        group = h5.create_group(pair_name(QUERY, IMAGE, separator))
        assert list(h5) == (["query-day-a.jpg"] if separator == "/" else ["query-day-a.jpg_db-b.jpg"])
        group["matches0"] = np.array([1, -1, 0], np.int16)
        if scores:
            group["matching_scores0"] = np.array([0.5, 0, 0.25], np.float16)
        for names, expected in (((QUERY, IMAGE), [[0, 1], [2, 0]]), ((IMAGE, QUERY), [[1, 0], [0, 2]])):
            found = read_matches(h5, *names)
            assert found is not None
            assert found[0].tolist() == expected and found[1].tolist() == ([0.5, 0.25] if scores else [1.0, 1.0])
        assert read_matches(h5, QUERY, "db/c.jpg") is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=5))
def test_rows_beyond_the_keypoints_are_refused(rows: list[tuple[int, int]]) -> None:
    table = np.array(rows, np.int64).reshape(-1, 2)
    if any(i >= 5 or j >= 7 for i, j in rows):
        with pytest.raises(InputError, match="feature file does not have"):
            require_rows(table, (5, 7), (QUERY, IMAGE), Path("m.h5"))
    else:
        require_rows(table, (5, 7), (QUERY, IMAGE), Path("m.h5"))


def test_lines_of_pairs() -> None:
    assert split_pair("a.jpg b.jpg\n") == ["a.jpg", "b.jpg"]
    assert split_pair("a one.jpg\tb.jpg\r\n") == ["a one.jpg", "b.jpg"]
    assert len(split_pair("a one.jpg b.jpg")) == 3
