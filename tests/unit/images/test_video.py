import csv
import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from dust3r_sfm.errors import InputError, OutputError
from dust3r_sfm.images.video import TABLE, find_videos, is_video, select_frames, write_frames
from dust3r_sfm.runs.frames import with_frames
from dust3r_sfm.system.progress import Silent

SIZE = (320, 240)
DIAGONAL = 400.0
RATE = 10.0


def video(path: Path, offsets: list[float], blurred: frozenset[int] = frozenset()) -> Path:
    """A camera that looks at a wall and is at these offsets, in pixels, frame by frame."""
    rng = np.random.default_rng(5)
    wall = cv2.resize(rng.integers(0, 255, (60, 500, 3), np.uint8), None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), RATE, SIZE)
    for number, offset in enumerate(offsets):
        shift = np.array([[1, 0, -offset], [0, 1, 0]], np.float32)
        frame = cv2.warpAffine(wall, shift, SIZE)
        writer.write(cv2.GaussianBlur(frame, (0, 0), 4) if number in blurred else frame)
    writer.release()
    return path


def numbers(frames) -> list[int]:
    return [frame.number for frame in frames]


def test_frames_are_evenly_spaced_in_motion_and_none_stands_still(tmp_path):
    walk = np.concatenate([np.arange(0, 240, 4), np.full(60, 240), np.arange(240, 480, 8)])
    frames = select_frames(video(tmp_path / "walk.mp4", walk.tolist()))
    at = walk[numbers(frames)]
    assert len(frames) == pytest.approx(480 / (0.06 * DIAGONAL), abs=3)
    assert np.all(np.diff(at) > 0.02 * DIAGONAL)
    assert np.all(np.diff(at) < 0.11 * DIAGONAL)
    assert [frame.seconds for frame in frames] == pytest.approx([frame.number / RATE for frame in frames], abs=1e-3)


def test_the_number_of_frames_can_be_said(tmp_path):
    path = video(tmp_path / "walk.mp4", list(np.arange(0, 600, 3.0)))
    assert len(select_frames(path, 9)) == 9


def test_blurred_frames_are_passed_over(tmp_path):
    blurred = frozenset(number for number in range(150) if number % 5)
    frames = select_frames(video(tmp_path / "shaky.mp4", list(np.arange(0, 600, 4.0)), blurred))
    chosen = numbers(frames)[:-1]  # the last stretch may end before its sharp frame
    assert len(chosen) > 20
    assert not blurred & set(chosen)


def test_a_camera_that_never_moves_gives_one_frame(tmp_path):
    path = video(tmp_path / "still.mp4", [0.0] * 40)
    assert len(select_frames(path)) == 1
    with pytest.raises(InputError, match=r"still\.mp4 shows no motion"):
        with_frames(path, tmp_path / "out", None, Silent(), overwrite=False)
    assert not (tmp_path / "out" / "frames").exists()


def test_files_table_and_several_videos(tmp_path):
    names = ["first walk.mp4", "zweiter.avi"]
    for name in names:
        video(tmp_path / name, list(np.arange(0, 200, 4.0)))
    frames = write_frames(find_videos(tmp_path), tmp_path / "frames", 10)
    files = sorted(path.relative_to(tmp_path / "frames").as_posix() for path in (tmp_path / "frames").rglob("*.jpg"))
    assert files == sorted(frame.name for frame in frames)
    assert {name.split("/")[0] for name in files} == {"first_walk", "zweiter"}
    with (tmp_path / "frames" / TABLE).open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert [row["name"] for row in rows] == [frame.name for frame in frames]
    assert {row["video"] for row in rows} == set(names)
    assert cv2.imread(str(tmp_path / "frames" / files[0])).shape == (SIZE[1], SIZE[0], 3)


def test_what_is_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("no video", encoding="utf-8")
    with pytest.raises(InputError, match=r"text.mp4 is not a video that OpenCV can read"):
        select_frames(tmp_path / "text.mp4")
    (tmp_path / "folder.mp4").mkdir()
    assert not is_video(tmp_path / "folder.mp4")


def test_a_run_writes_frames_once_and_notices_another_video(tmp_path):
    path, out = video(tmp_path / "walk.mp4", list(np.arange(0, 300, 4.0))), tmp_path / "out"

    def frames(num_frames=None, overwrite=False):
        return with_frames(path, out, num_frames, Silent(), overwrite=overwrite)

    assert frames() == out / "frames"
    first = {file: file.stat().st_mtime_ns for file in (out / "frames").rglob("*.jpg")}
    assert frames() == out / "frames"
    assert first == {file: file.stat().st_mtime_ns for file in (out / "frames").rglob("*.jpg")}
    with pytest.raises(OutputError, match="holds another run"):
        frames(6)
    frames(6, overwrite=True)
    assert len(list((out / "frames").rglob("*.jpg"))) == 6


def test_photographs_stay_what_they_are(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.mov").touch()  # telephones put one beside each photograph
    assert with_frames(tmp_path, tmp_path / "out", None, Silent(), overwrite=False) == tmp_path
    with pytest.raises(InputError, match="no video is given"):
        with_frames(tmp_path, tmp_path / "out", 5, Silent(), overwrite=False)
    with pytest.raises(InputError, match="There is no video"):
        with_frames(tmp_path / "none.mp4", tmp_path / "out", None, Silent(), overwrite=False)


def test_videos_and_photographs_in_one_list(tmp_path):
    walk = video(tmp_path / "walk.mp4", list(np.arange(0, 200, 4.0)))
    photo = tmp_path / "a.jpg"
    photo.touch()
    result = with_frames([walk, photo], tmp_path / "out", None, Silent(), overwrite=False)
    assert result == [photo, tmp_path / "out" / "frames"]
    assert list(itertools.islice((tmp_path / "out" / "frames").rglob("*.jpg"), 1))
