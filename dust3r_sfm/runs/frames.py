"""Videos of a run: their frames are written to OUT/frames once, and are its photographs."""

from collections.abc import Sequence
from pathlib import Path

from dust3r_sfm.errors import InputError, OutputError
from dust3r_sfm.images.find import find_images
from dust3r_sfm.images.video import find_videos, is_video, write_frames
from dust3r_sfm.runs.folder import FRAMES
from dust3r_sfm.system.files import write_json
from dust3r_sfm.system.progress import Progress
from dust3r_sfm.system.text import read_json

_SOURCE = "videos.json"
"""What the frames were made from, beside them."""


def with_frames(
    photos: Path | Sequence[Path], out: Path, num_frames: int | None, progress: Progress, *, overwrite: bool
) -> Path | Sequence[Path]:
    """Give the photographs of a run: videos are replaced by the folder of their frames.

    Args:
        photos: a video, a folder of videos without photographs, or what `read_images` takes; a list may hold videos.
        out: output folder; the frames are in its sub-folder `frames`, where a later run finds them again.
        num_frames: of all videos; None: as their motion asks.
        progress: shows the stage.
        overwrite: frames of other videos are replaced.

    Raises:
        InputError: a video cannot be read, or a number of frames is asked for without one.
        OutputError: the folder holds frames of other videos, or a run of photographs.
    """
    videos, others = _sorted_out(photos)
    if not videos:
        if num_frames is not None:
            raise InputError("--frames says how many frames of a video to take, but no video is given; drop it.")
        return photos
    folder = out / FRAMES
    source = {
        "videos": [[str(video.resolve()), video.stat().st_size, video.stat().st_mtime_ns] for video in videos],
        "num_frames": num_frames,
    }
    known = read_json(folder / _SOURCE) if (folder / _SOURCE).is_file() else None
    if known != source:
        if (known is not None or (out / "run.json").exists()) and not overwrite:
            raise OutputError(
                f"{out} holds another run (of other videos, photographs or frames); choose another folder, or add "
                "--overwrite to replace it.",
                path=out,
            )
        with progress.stage("frames") as step:
            write_frames(videos, folder, num_frames, step)
        write_json(folder / _SOURCE, source)
    return [*others, folder] if others else folder


def _sorted_out(photos: Path | Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Videos, and whatever else is meant."""
    if not isinstance(photos, Path):
        return [path for path in photos if is_video(path)], [path for path in photos if not is_video(path)]
    if is_video(photos):
        if not photos.is_file():
            raise InputError(f"There is no video {photos}; check the path.", path=photos)
        return [photos], []
    if photos.is_dir() and not find_images(photos):
        return find_videos(photos), []
    return [], [photos]
