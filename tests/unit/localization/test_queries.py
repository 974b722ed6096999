"""What can be localized: lists with intrinsics, folders, one photograph, videos; and what is wrong with them."""

import shutil

import cv2
import numpy as np
import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.resize import DEFAULT_GRID
from dust3r_sfm.localization.queries import open_queries, read_query_list
from dust3r_sfm.options import LocalizeOptions
from dust3r_sfm.types import KnownCamera


def _open(path, root, **options):
    with open_queries(path, root, LocalizeOptions(**options), DEFAULT_GRID) as queries:
        return queries


def test_a_list_with_intrinsics_as_hloc_writes_it(tmp_path):
    (tmp_path / "day_with_intrinsics.txt").write_text(
        "# day\nquery/day/1.jpg SIMPLE_RADIAL 640 480 520.5 320 240 -0.05\n\n"
        "query/day/2.jpg PINHOLE 640 480 1 2 3 4 # x\n"
    )
    (tmp_path / "night_with_intrinsics.txt").write_text("query/night/1.jpg\n")
    cameras = read_query_list(tmp_path / "*_with_intrinsics.txt")
    assert list(cameras) == ["query/day/1.jpg", "query/day/2.jpg", "query/night/1.jpg"]
    assert cameras["query/day/1.jpg"] == KnownCamera(
        model="SIMPLE_RADIAL", size=(640, 480), params=(520.5, 320.0, 240.0, -0.05)
    )
    assert cameras["query/night/1.jpg"] is None


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("b.jpg SIMPLE_RADIO 640 480 500 320 240 0", r"line 3: 'SIMPLE_RADIO' is not a camera model"),
        ("b.jpg PINHOLE 640 480 500 320 240", r"line 3: the camera must read PINHOLE width height fx fy cx cy"),
        ("b.jpg PINHOLE 640 48O 500 500 320 240", r"line 3: the camera must read PINHOLE"),
        ("a.jpg", r"line 3: a\.jpg is listed a second time \(first in .*line 1\)"),
        ("../b.jpg", r"line 3: \.\./b\.jpg leads out of the folder"),
    ],
)
def test_a_typo_is_found_by_its_line(tmp_path, line, sentence):
    (tmp_path / "list.txt").write_text(f"a.jpg\n\n{line}\n")
    with pytest.raises(InputError, match=sentence):
        read_query_list(tmp_path / "list.txt")


def test_nothing_to_localize_is_said(tmp_path):
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(InputError, match="lists no query"):
        read_query_list(tmp_path / "empty.txt")
    with pytest.raises(InputError, match=r"nowhere\.txt is neither a photograph"):
        read_query_list(tmp_path / "nowhere.txt")
    with pytest.raises(InputError, match="no photographs"):
        _open(tmp_path, tmp_path)


def test_a_folder_gives_every_query_even_unusable_and_equal_ones(courtyard, tmp_path):
    shutil.copy(courtyard.query.path, tmp_path / "a.jpg")
    shutil.copy(courtyard.query.path, tmp_path / "again.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "cut.jpg").write_bytes(courtyard.query.path.read_bytes()[:3000])
    found = {query.name: query for query in _open(tmp_path, tmp_path)}
    assert list(found) == ["a.jpg", "again.jpg", "broken.jpg", "cut.jpg"]
    assert found["a.jpg"].view is not None and found["again.jpg"].view is not None
    assert found["again.jpg"].view.path.name == "again.jpg"
    assert found["broken.jpg"].view is None and "not an image" in found["broken.jpg"].reason
    assert found["cut.jpg"].view is None and found["cut.jpg"].reason


def test_a_list_says_what_is_missing_and_what_does_not_fit(courtyard, tmp_path):
    name, camera = courtyard.query.name, courtyard.camera
    numbers = " ".join(map(str, camera.params))
    path = tmp_path / "list.txt"
    path.write_text(f"{name} {camera.model} {camera.size[0]} {camera.size[1]} {numbers}\nlost.jpg\n")
    first, second = _open(path, courtyard.images)
    assert first.camera == camera and second.view is None and "no such file" in second.reason
    path.write_text(f"{name} {camera.model} 99 77 {numbers}\n")
    with pytest.raises(InputError, match="has 99 × 77 pixels but the file has"):
        _open(path, courtyard.images)
    path.write_text("lost.jpg\n")
    with pytest.raises(InputError, match="None of the 1 queries is in"):
        _open(path, courtyard.images)


def test_one_camera_for_all(courtyard):
    text = ",".join(map(str, (courtyard.camera.model, *courtyard.camera.size, *courtyard.camera.params)))
    (query,) = _open(courtyard.query.path, courtyard.images, query_intrinsics=text)
    assert query.camera == courtyard.camera and query.name == courtyard.query.path.name


def test_frames_of_a_video(tmp_path):
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for number in range(7):
        writer.write(np.full((64, 96, 3), 30 * number, np.uint8))
    writer.release()
    with open_queries(path, tmp_path, LocalizeOptions(frame_step=3), DEFAULT_GRID) as queries:
        assert [query.name for query in queries] == [f"walk.avi/frame-00000{number}.png" for number in (0, 3, 6)]
        assert all(query.view is not None and query.view.path.is_file() for query in queries)
    (tmp_path / "text.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"text\.mp4 is not a video"):
        _open(tmp_path / "text.mp4", tmp_path)
