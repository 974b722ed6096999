"""The photographs to localize: an image, a folder, a list with intrinsics, the frames of a video."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.decode import open_image
from dust3r_sfm.images.find import SUFFIXES, find_images
from dust3r_sfm.images.foreign.colmap_camera import is_model, read_camera
from dust3r_sfm.images.known_cameras import params_of, read_intrinsics
from dust3r_sfm.images.read import read_images
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.images.video import is_video, read_video
from dust3r_sfm.options import ImageOptions, LocalizeOptions
from dust3r_sfm.system.names import refuse_unsafe_name
from dust3r_sfm.system.text import read_text
from dust3r_sfm.types import KnownCamera, View

_SAME_BYTES = "it has the same bytes as "


@dataclass(frozen=True, kw_only=True)
class Query:
    """One photograph to localize.

    Attributes:
        name: as it will be called in the results.
        view: the photograph; None where it cannot be used.
        reason: why not, one sentence.
        camera: its camera, where it is known.
    """

    name: str
    view: View | None
    reason: str = ""
    camera: KnownCamera | None = None


@contextlib.contextmanager
def open_queries(path: Path, image_root: Path, options: LocalizeOptions, grid: Grid) -> Iterator[list[Query]]:
    """Read the queries; frames of a video are files only within the block.

    Args:
        path: a photograph, a folder of photographs, a video, or a list (.txt, a glob is allowed): a name a line,
            followed by camera model, width, height and parameters where they are known (hloc's
            `*_with_intrinsics.txt`), `#` before comments.
        image_root: folder that the names in a list are relative to, unless `options.query_images` says otherwise.
        options: their camera, and how a video is sampled.
        grid: network grid of the predictor.

    Raises:
        InputError: there is nothing to localize, a list cannot be read (the sentence names file and line), or a camera
            does not fit its photograph.
    """
    if path.is_dir():
        names = find_images(path)
        if not names:
            raise InputError(f"There are no photographs in {path}; give a folder, a list or one photograph.", path=path)
        yield _read(path, names, {}, options, grid)
    elif is_video(path):
        with tempfile.TemporaryDirectory() as folder:
            yield _read(Path(folder), _frames(path, Path(folder), options.frame_step), {}, options, grid)
    elif path.suffix.lower() in SUFFIXES and path.is_file():
        yield _read(path.parent, [path.name], {}, options, grid)
    else:
        cameras = read_query_list(path)
        yield _read(options.query_images or image_root, list(cameras), cameras, options, grid)


def read_query_list(path: Path) -> dict[str, KnownCamera | None]:
    """Read a list of queries, with or without cameras.

    Args:
        path: text file; a glob such as `queries/*_with_intrinsics.txt` reads several.

    Returns:
        The camera of each query, None where the list does not say, in the order of the files.

    Raises:
        InputError: no file, no query, or a line that is not one: the sentence names file and line.
    """
    paths = sorted(path.parent.glob(path.name)) if "*" in path.name else [path]
    cameras: dict[str, KnownCamera | None] = {}
    seen: dict[str, str] = {}
    for file in paths:
        try:
            lines = read_text(file).splitlines()
        except (OSError, ValueError) as error:
            raise InputError(
                f"{file} is neither a photograph, a folder, a video nor a list of queries that can be read; "
                "check the path."
            ) from error
        for number, line in enumerate(lines, start=1):
            words = line.split("#", 1)[0].split()
            if not words:
                continue
            place = f"{file}, line {number}"
            if words[0] in seen:
                raise InputError(f"{place}: {words[0]} is listed a second time (first in {seen[words[0]]}).")
            seen[words[0]] = place
            try:
                refuse_unsafe_name(words[0], file)
            except InputError as error:
                raise InputError(
                    f"{place}: {words[0]} leads out of the folder of the photographs; give names inside it."
                ) from error
            cameras[words[0]] = _camera(words[1:], place) if len(words) > 1 else None
    if not cameras:
        raise InputError(f"{path} lists no query; it holds a name a line, and the camera where it is known.", path=path)
    return cameras


def _camera(words: Sequence[str], place: str) -> KnownCamera:
    model = words[0]
    if not is_model(model):
        raise InputError(f"{place}: '{model}' is not a camera model of COLMAP, such as SIMPLE_RADIAL or PINHOLE.")
    try:
        return read_camera(model, words[1:3], words[3:])
    except ValueError as error:
        raise InputError(
            f"{place}: the camera must read {model} width height {' '.join(params_of(model))}, numbers that a camera "
            "can have."
        ) from error


def _read(
    root: Path,
    names: Sequence[str],
    listed: Mapping[str, KnownCamera | None],
    options: LocalizeOptions,
    grid: Grid,
) -> list[Query]:
    there = [name for name in names if (root / name).is_file()]
    if not there:
        raise InputError(
            f"None of the {len(names)} queries is in {root} ({names[0]} for one); give --query-images.", path=root
        )
    usable = [name for name in there if _opens(root / name)]
    images = read_images(root, ImageOptions(), grid, usable) if usable else None
    views = {} if images is None else {view.name: view for view in images.views}
    reasons = {} if images is None else {dropped.name: dropped.reason for dropped in images.dropped}
    for name, reason in list(reasons.items()):
        if reason.startswith(_SAME_BYTES):  # no harm for a query
            views[name] = replace(views[reason.removeprefix(_SAME_BYTES)], name=name, path=root / name)
    cameras = dict(listed)
    if options.query_intrinsics is not None:
        intrinsics, _ = read_intrinsics(options.query_intrinsics, list(views.values()))
        cameras = {**intrinsics, **{name: camera for name, camera in cameras.items() if camera is not None}}
    queries = []
    for name in names:
        view, camera = views.get(name), cameras.get(name)
        if view is not None and camera is not None and camera.size != view.size:
            raise InputError(
                f"The camera of the query {name} has {camera.size[0]} × {camera.size[1]} pixels but the file has "
                f"{view.size[0]} × {view.size[1]} (as stored, not turned by EXIF); give that of the file as it is."
            )
        missing = f"there is no such file in {root}" if name not in there else "it is not an image that can be read"
        reason = "" if view is not None else reasons.get(name, missing)
        queries.append(Query(name=name, view=view, reason=reason, camera=camera))
    return queries


def _opens(path: Path) -> bool:
    """Whether the file is an image at all: a set in which none can be read would be refused as a whole."""
    from dust3r_sfm.errors import ImageError

    try:
        open_image(path).close()
    except ImageError:
        return False
    return True


def _frames(video: Path, folder: Path, step: int) -> list[str]:
    """Write every n-th frame of a video as a PNG file `VIDEO/frame-000000.png` below a folder."""
    import cv2

    names = []
    (folder / video.name).mkdir()
    for frame, picture in read_video(video, step):
        name = f"{video.name}/frame-{frame.number:06d}.png"
        if cv2.imwrite(str(folder / name), picture):
            names.append(name)
    return names
