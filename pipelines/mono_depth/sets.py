"""The sets as they are unpacked: for each photograph, its file and its true depth."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float
from scipy.sparse import load_npz

from dust3r_sfm.errors import InputError
from dust3r_sfm.localization.depths import read_depth
from pipelines.benchmark import read_lines
from pipelines.mono_depth.nyu import nyu_samples
from pipelines.mono_depth.rules import Lineage
from pipelines.mono_depth.sample import DepthSample

_ARCHIVE_UNITS_METRES = {"nyu": 1 / 5000, "bonn": 1 / 1000, "tum": 1 / 1000, "kitti": 1 / 256, "ddad": 1 / 1000}
"""Of a step of a .png file in SC-Depth's archives (KITTI has .npy there, DDAD .npz)."""
_TUM_UNIT_METRES, _KITTI_UNIT_METRES = 1 / 5000, 1 / 256
"""Of a step of the published files (TUM's and Bonn's manual; KITTI's devkit)."""
_SAME_MOMENT_SECONDS = 0.02
"""Largest difference of two time stamps that belong together (TUM's associate.py)."""
_KITTI_FRAMES = 110
"""First frames of each validation drive (MonST3R)."""
_BONN_SEQUENCES = ("balloon2", "crowd2", "crowd3", "person_tracking2", "synchronous")
_BONN_FRAMES = slice(30, 140)
"""Of each sequence, sorted by name (MonST3R)."""


@dataclass(frozen=True, kw_only=True)
class DepthSet:
    """What of a set is here.

    Attributes:
        samples: in order.
        missing: what is not, and why.
    """

    samples: list[DepthSample]
    missing: dict[str, str]


def read_set(data: Path, name: str, lineage: Lineage, pictures: Path) -> DepthSet:
    """List the samples of a set.

    Args:
        data: folder of the sets.
        name: nyu, kitti, bonn, tum or ddad.
        lineage: which chooses the images too.
        pictures: folder for photographs that the set keeps in a file of its own kind.

    Raises:
        InputError: the set is not there, or a file of it is damaged.
    """
    folder = data / name
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}.", path=folder)
    missing: dict[str, str] = {}
    if lineage == "sc-depth" and (folder / "testing").is_dir():
        samples = _of_archive(data, name)
    elif name == "nyu":
        samples = nyu_samples(folder, pictures)
    elif name == "kitti":
        samples = _kitti_drives(data, missing) if lineage == "monst3r" else _kitti_eigen(data, missing)
    elif name == "bonn" and lineage == "monst3r":
        samples = _bonn_excerpts(data, missing)
    elif name in ("bonn", "tum"):
        samples = [sample for sequence in _sequences(folder) for sample in _associated(data, sequence)]
    else:
        raise InputError(f"{folder / 'testing'} is missing: DDAD is read as SC-Depth's archive has it.", path=folder)
    absent = [sample for sample in samples if not sample.is_complete]
    if absent:
        missing[name] = f"{len(absent)} of {len(samples)} images or depth maps are not here, {absent[0].name} for one"
    samples = [sample for sample in samples if sample.is_complete]
    expected = {"nyu": 654, "kitti": 697}.get(name) if lineage == "sc-depth" else None
    if expected is not None and len(samples) < expected:
        missing[name] = f"{len(samples)} of {expected} images"
    if not samples:
        raise InputError(f"{folder} holds no image with a depth map; see the layouts in the README.", path=folder)
    return DepthSet(samples=samples, missing=missing)


def _of_archive(data: Path, name: str) -> list[DepthSample]:
    """SET/testing/color and depth, in equal order."""
    colour, depth = (
        sorted(path for path in (data / name / "testing" / part).glob("*.*")) for part in ("color", "depth")
    )
    if len(colour) != len(depth):
        raise InputError(
            f"{data / name / 'testing'} holds {len(colour)} pictures in color and {len(depth)} maps in depth; unpack "
            "the archive again."
        )
    unit = _ARCHIVE_UNITS_METRES[name]
    return [_sample(data, picture, path, unit) for picture, path in zip(colour, depth, strict=True)]


def _kitti_drives(data: Path, missing: dict[str, str]) -> list[DepthSample]:
    samples = []
    for truth_folder in sorted((data / "kitti").glob("val/*_sync/proj_depth/groundtruth/image_02")):
        drive = truth_folder.parents[2].name
        for truth in sorted(truth_folder.glob("*.png"))[:_KITTI_FRAMES]:
            samples.append(_sample(data, _kitti_picture(data, drive, truth.name), truth, _KITTI_UNIT_METRES))
    if not samples:
        missing["kitti"] = "there is no kitti/val/DRIVE_sync/proj_depth/groundtruth/image_02"
    return samples


def _kitti_eigen(data: Path, missing: dict[str, str]) -> list[DepthSample]:
    """Eigen's list with the annotated maps; a line holds a drive and a number, or the picture's path."""
    samples = []
    path = data / "kitti" / "eigen_test_files.txt"
    for line, place in read_lines(path):
        words = line.split()
        drive = next((part for part in Path(words[0]).parts if part.endswith("_sync")), "")
        number = words[1] if len(words) > 1 and words[1].isdecimal() else Path(words[0]).stem
        if not drive or not number.isdecimal():
            raise InputError(f"{place}: '{line}' does not read DATE/DRIVE_sync NUMBER or the path of a picture.")
        name = f"{int(number):010d}.png"
        truths = [
            data / "kitti" / split / drive / "proj_depth" / "groundtruth" / "image_02" / name
            for split in ("val", "train")
        ]
        truth = next((each for each in truths if each.is_file()), truths[0])
        samples.append(_sample(data, _kitti_picture(data, drive, name), truth, _KITTI_UNIT_METRES))
    return samples


def _kitti_picture(data: Path, drive: str, name: str) -> Path:
    inner = Path(drive[:10]) / drive / "image_02" / "data" / name
    raw = data / "kitti" / "raw_data" / inner
    return raw if raw.is_file() else data / "kitti" / inner


def _bonn_excerpts(data: Path, missing: dict[str, str]) -> list[DepthSample]:
    here = {folder.name.removeprefix("rgbd_bonn_"): folder for folder in _sequences(data / "bonn")}
    samples = []
    for name in _BONN_SEQUENCES:
        if name not in here:
            missing[f"bonn/{name}"] = "the sequence is not here"
            continue
        colour, depth = (sorted((here[name] / part).glob("*.png"))[_BONN_FRAMES] for part in ("rgb", "depth"))
        if min(len(colour), len(depth)) < _BONN_FRAMES.stop - _BONN_FRAMES.start:
            missing[f"bonn/{name}"] = f"it has {min(len(colour), len(depth))} of the frames 30 to 139"
        samples += [_sample(data, *pair, _TUM_UNIT_METRES) for pair in zip(colour, depth, strict=False)]
    return samples


def _sequences(folder: Path) -> list[Path]:
    """Folders that hold rgb and depth, at most two levels below."""
    return sorted(path.parent for pattern in ("*/rgb", "*/*/rgb") for path in folder.glob(pattern) if path.is_dir())


def _associated(data: Path, sequence: Path) -> Iterator[DepthSample]:
    """Pairs of the nearest time stamps of rgb.txt and depth.txt, each used once, as TUM's associate.py has them."""
    colour, depth = (_stamped(sequence / name) for name in ("rgb.txt", "depth.txt"))
    near = sorted(
        (abs(first - second), first, second)
        for first in colour
        for second in depth
        if abs(first - second) < _SAME_MOMENT_SECONDS
    )
    pairs: dict[float, float] = {}
    for _, first, second in near:
        if first not in pairs and second not in pairs.values():
            pairs[first] = second
    for first, second in sorted(pairs.items()):
        yield _sample(data, sequence / colour[first], sequence / depth[second], _TUM_UNIT_METRES)


def _stamped(path: Path) -> dict[float, str]:
    entries = {}
    for line, place in read_lines(path):
        if not line.startswith("#"):
            try:
                stamp, name = line.split()[:2]
                entries[float(stamp)] = name
            except ValueError as error:
                raise InputError(f"{place}: '{line}' does not read a time stamp and a file.", path=path) from error
    return entries


def _sample(data: Path, picture: Path, truth: Path, unit: float) -> DepthSample:
    name = picture.relative_to(data).as_posix()
    is_complete = picture.is_file() and truth.is_file()
    return DepthSample(name=name, root=data, is_complete=is_complete, truth=partial(_read, truth, unit))


def _read(path: Path, unit: float) -> Float[np.ndarray, "h w"]:
    """A map in metres: .png in steps, .npy, or scipy's sparse .npz."""
    if path.suffix != ".npz":
        return read_depth(path, unit)
    try:
        return np.asarray(load_npz(path).toarray(), np.float32)
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(f"{path} is no sparse depth map; unpack the archive again.", path=path) from error
