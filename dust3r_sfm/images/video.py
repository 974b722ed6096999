"""Videos become photographs: the sharpest frame of every stretch over which the picture moves equally far."""

import csv
import io
import logging
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from dust3r_sfm.errors import InputError
from dust3r_sfm.system.files import atomic_path, write_text

logger = logging.getLogger("dust3r_sfm")

SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})
"""Files that are taken for videos."""

TABLE = "frames.csv"
"""Which photograph is which frame: name, video, number, seconds."""

_SPACING_OF_DIAGONAL = 0.06
"""How far the picture moves from one photograph to the next: neighbours share about nine tenths. Chosen by hand."""

_FINE_PER_SPACING = 4
"""Parts of a spacing by which motion is measured, so that any number of photographs divides it evenly."""

_LOOKS_PER_SECOND = 12.0
"""Frames that are looked at, of those that a video has; chosen by hand."""

_LONG_SIDE_PX = 640
"""Size at which frames are compared; chosen by hand."""

_MAX_CORNERS, _MIN_CORNERS, _KEPT_OF_CORNERS = 300, 12, 0.5
"""Corners that are followed, fewest that tell a motion, and the share whose loss counts as motion; chosen by hand."""

_JPEG_QUALITY = 95

_FFMPEG_QUIET = "-8"
"""FFmpeg's AV_LOG_QUIET."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A frame of a video.

    Attributes:
        video: where it is.
        number: counted from 0.
        seconds: when it is shown, from the start of the video.
    """

    video: Path
    number: int
    seconds: float

    @property
    def name(self) -> str:
        """Of its photograph: VIDEO/frame-000123.jpg."""
        folder = re.sub(r"[^\w.-]+", "_", self.video.stem)
        return f"{folder}/frame-{self.number:06d}.jpg"


def is_video(path: Path) -> bool:
    """Whether a file is a video by its name."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def find_videos(folder: Path) -> list[Path]:
    """The videos in a folder, sorted; not those in its sub-folders."""
    return sorted(path for path in folder.iterdir() if path.name[0] != "." and is_video(path))


def read_video(
    video: Path, step: int = 1, wanted: Sequence[int] | None = None
) -> Iterator[tuple[Frame, UInt8[np.ndarray, "h w 3"]]]:
    """Decode a video's frames, upright, as BGR (OpenCV, which turns them as their metadata say).

    Args:
        video: file.
        step: every n-th frame.
        wanted: numbers of the frames, instead.

    Raises:
        InputError: it cannot be read.
    """
    if not video.is_file():
        raise InputError(f"There is no video {video}; check the path.", path=video)
    reader = _open(video)
    chosen = None if wanted is None else frozenset(wanted)
    number = 0
    try:
        while reader.grab():
            if number in chosen if chosen is not None else number % max(step, 1) == 0:
                seconds = reader.get(cv2.CAP_PROP_POS_MSEC) / 1000
                decoded, picture = reader.retrieve()
                if decoded:
                    yield Frame(video=video, number=number, seconds=seconds), np.asarray(picture, np.uint8)
            number += 1
    finally:
        reader.release()
    if number == 0:
        raise InputError(
            f"{video} is not a video that OpenCV can read; convert it to MP4 or give its frames.", path=video
        )


def select_frames(
    video: Path, num_frames: int | None = None, step: Callable[[int, int], None] = lambda done, total: None
) -> list[Frame]:
    """Choose the frames of a video to make a model of.

    Motion is measured on corners that are followed (Lucas and Kanade 1981, OpenCV), so that a camera that stands still
    gives one photograph, and of each stretch of equal motion the sharpest frame is taken (variance of the Laplacian).

    Args:
        video: file.
        num_frames: how many, 2 at least; by default as many as the motion asks for.
        step: called with frames looked at, and about how many there are.

    Raises:
        InputError: it cannot be read.
    """
    stride, about = _stride(video)
    motion, looked, sharpness = _Motion(), list[Frame](), list[float]()
    places = list[float]()
    for frame, picture in read_video(video, stride):
        grey = _small_grey(picture)
        places.append(motion.advance(grey))
        looked.append(frame)
        sharpness.append(float(cv2.Laplacian(grey, cv2.CV_32F).var()))
        step(min(len(looked), about), about)
    of_window, off_middle = _windows(np.array(places), num_frames)
    merit = np.array(sharpness) * (1 - off_middle)
    windows = [np.flatnonzero(of_window == window) for window in np.unique(of_window)]
    return [looked[window[np.argmax(merit[window])]] for window in windows]


def write_frames(
    videos: Sequence[Path],
    folder: Path,
    num_frames: int | None = None,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> list[Frame]:
    """Write the chosen frames of videos as JPEG files, and a table of them (`TABLE`); whole or not at all.

    Args:
        videos: files.
        folder: receives the photographs, a folder a video.
        num_frames: of all videos together, an equal share of each; by default as the motion asks.
        step: see `select_frames`.
    """
    chosen = list[Frame]()
    for video in videos:
        frames = select_frames(video, None if num_frames is None else max(2, round(num_frames / len(videos))), step)
        if len(frames) < 2 and len(videos) == 1:
            raise InputError(f"{video} shows no motion, and a model needs photographs from several places.", path=video)
        logger.info("%s: %d frames, the sharpest of each stretch of motion", video.name, len(frames))
        chosen += frames
    if len({frame.name for frame in chosen}) < len(chosen):
        raise InputError(f"Two videos have equal names ({videos[0].name} for one); rename them.")
    with atomic_path(folder) as temporary:
        for video in videos:
            of_video = {frame.number for frame in chosen if frame.video == video}
            for frame, picture in read_video(video, wanted=sorted(of_video)):
                path = temporary / frame.name
                path.parent.mkdir(parents=True, exist_ok=True)
                if not cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]):
                    raise OSError(f"{path} could not be written")
        write_text(temporary / TABLE, _table(chosen))
    return chosen


class _Motion:
    """How far the picture has moved, in spacings, as its frames come."""

    def __init__(self) -> None:
        self._before: UInt8[np.ndarray, "h w"] | None = None
        self._start = self._at = np.zeros((0, 2), np.float32)
        self._num_corners, self._parts = 0, 0.0

    def advance(self, grey: UInt8[np.ndarray, "h w"]) -> float:
        """Where on the path of the motion the next frame is."""
        moved = 0.0 if self._before is None else self._moved(self._before, grey)
        place = self._parts + moved
        if moved >= 1 or self._num_corners < _MIN_CORNERS:
            self._parts = place
            corners = cv2.goodFeaturesToTrack(grey, _MAX_CORNERS, 0.01, 8)
            self._start = np.zeros((0, 2), np.float32) if corners is None else corners.reshape(-1, 2)
            self._at, self._num_corners = self._start, len(self._start)
        self._before = grey
        return place / _FINE_PER_SPACING

    def _moved(self, before: UInt8[np.ndarray, "h w"], after: UInt8[np.ndarray, "h w"]) -> float:
        """Parts of a spacing since the corners were found; one, where they are lost."""
        if self._num_corners < _MIN_CORNERS:
            return 0.0
        found, status, _ = cv2.calcOpticalFlowPyrLK(before, after, self._at[:, None], None)
        is_kept = status.ravel() > 0
        self._start, self._at = self._start[is_kept], found.reshape(-1, 2)[is_kept]
        if len(self._at) < max(_MIN_CORNERS, _KEPT_OF_CORNERS * self._num_corners):
            return 1.0
        part_px = _SPACING_OF_DIAGONAL / _FINE_PER_SPACING * math.hypot(*after.shape)
        return min(float(np.median(np.linalg.norm(self._at - self._start, axis=1))) / part_px, _FINE_PER_SPACING)


def _windows(
    places: Float64[np.ndarray, " n"], num_frames: int | None
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Which stretch of the path each frame lies in, and how far from its middle, of its length.

    The first and the last frame lie in the middle of theirs, so that the whole path is covered.
    """
    spacing = 1.0 if num_frames is None else max(float(places[-1]) / (num_frames - 1), 1e-9)
    middle = np.round(places / spacing)
    return middle, np.abs(places / spacing - middle)


def _open(video: Path) -> cv2.VideoCapture:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _FFMPEG_QUIET)  # what it says of damaged files is no sentence
    return cv2.VideoCapture(str(video))


def _stride(video: Path) -> tuple[int, int]:
    """Every which frame is looked at, and about how many that are."""
    reader = _open(video)
    rate, count = reader.get(cv2.CAP_PROP_FPS), reader.get(cv2.CAP_PROP_FRAME_COUNT)
    reader.release()
    stride = max(1, round(rate / _LOOKS_PER_SECOND)) if math.isfinite(rate) and rate < 1000 else 1
    return stride, max(1, math.ceil(count / stride)) if math.isfinite(count) and count > 0 else 1


def _small_grey(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "_ _"]:
    scale = min(1.0, _LONG_SIDE_PX / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)


def _table(frames: Sequence[Frame]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "video", "number", "seconds"])
    writer.writerows([frame.name, frame.video.name, frame.number, f"{frame.seconds:.3f}"] for frame in frames)
    return text.getvalue()
