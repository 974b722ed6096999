"""`scene.h5`: a `Scene` as an HDF5 file that is whole or absent.

Arrays stand under the names of their fields; depths and confidences are one dataset per image, compressed. Depths keep
their single precision: rounding them to half moves points by up to 0.05 %, which is the error of a good depth.
Confidences are heuristic and are kept in half precision. Of views, whatever is an array has a row per image: NaN and
the empty string stand for "not known". Version 1 lacked orientations, masks, focal priors and known poses.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import are_rigid
from dust3r_sfm.system.hdf5 import entry, open_or_say, read_numbers, read_text, read_texts
from dust3r_sfm.system.hdf5_writer import new_file
from dust3r_sfm.system.names import refuse_unsafe_name
from dust3r_sfm.types import ControlPoints, KnownCamera, Positions, Priors, Scene, View

_FORMAT = "dust3r_sfm scene"
_VERSION = 2
_HALF_MAX = float(np.finfo(np.float16).max)
_ARRAYS: dict[str, tuple[type, str, tuple[int, ...]]] = {
    "intrinsics": (np.float64, "image", (3, 3)),
    "cam_from_world": (np.float64, "image", (3, 4)),
    "registered": (np.bool_, "image", ()),
    "edges": (np.int64, "edge", (2,)),
    "world_from_edge": (np.float64, "edge", (4, 4)),
    "edge_weights": (np.float64, "edge", ()),
    "edge_residuals": (np.float64, "edge", ()),
}
"""Type of each field, whether it has a row per image or per edge, and the shape of a row."""
_OPTIONAL_ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "edge_cycles": ("edge", (3,)),
    "covariances": ("image", (6, 6)),
}
"""Whether each has a row per image or per edge, and the shape of a row."""
_VIEW_ARRAYS: dict[str, tuple[str, type, tuple[int, ...]]] = {
    "image_sizes": ("size", np.int64, (2,)),
    "network_sizes": ("network_size", np.int64, (2,)),
    "network_from_image": ("network_from_image", np.float64, (3, 3)),
    "camera_groups": ("camera_group", np.int64, ()),
    "orientations": ("orientation", np.int64, ()),
    "focal_priors": ("focal_prior", np.float64, ()),
    "known_intrinsics": ("known_intrinsics", np.float64, (3, 3)),
    "known_cam_from_world": ("known_cam_from_world", np.float64, (3, 4)),
}
"""Field of a view, type and shape of a row of each dataset."""


def write_scene(path: Path, scene: Scene) -> None:
    """Write a scene atomically.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    with new_file(path) as h5:
        h5.attrs["format"] = _FORMAT
        h5.attrs["version"] = _VERSION
        h5.attrs["image_root"] = str(scene.image_root)
        _write_strings(h5, "warnings", scene.warnings)
        _write_views(h5, scene.views)
        if scene.priors is not None:
            h5["priors"] = json.dumps(asdict(scene.priors), default=lambda array: array.tolist())
        for name in _ARRAYS:
            h5[name] = getattr(scene, name)
        for name in _OPTIONAL_ARRAYS:
            if getattr(scene, name) is not None:
                h5[name] = getattr(scene, name)
        for index, (depth, confidence) in enumerate(zip(scene.depths, scene.confidences, strict=True)):
            for kind, values in (
                ("depths", depth),
                ("confidences", np.minimum(confidence, _HALF_MAX).astype(np.float16)),
            ):
                h5.create_dataset(
                    f"{kind}/{index}",
                    data=values,
                    chunks=values.shape,
                    compression="gzip",
                    compression_opts=1,
                    shuffle=True,
                )


def read_scene(path: Path, image_root: Path | None = None) -> Scene:
    """Read a scene, of this version or of version 1.

    Args:
        path: the file.
        image_root: where the photographs are now; default: where they were when the scene was made.

    Raises:
        InputError: the file is absent, damaged, not a scene, or of a version that this release does not read.
    """
    with open_or_say(path, "scene file", "align the photographs again") as h5:
        if h5.attrs.get("format") != _FORMAT:
            raise InputError(f"{path} is not a scene file; give the scene.h5 of an output folder.", path=path)
        if h5.attrs["version"] not in (1, _VERSION):
            raise InputError(
                f"{path} is a scene of version {h5.attrs['version']}, this release reads versions 1 to {_VERSION}; "
                "align the photographs again.",
                path=path,
            )
        root = image_root if image_root is not None else Path(h5.attrs["image_root"])
        views = _read_views_1(h5, root) if h5.attrs["version"] == 1 else _read_views(h5, root)
        for view in views:
            refuse_unsafe_name(view.name, path)
        counts = {"image": len(views), "edge": len(read_numbers(h5, "edges", (None, 2)))}
        values: dict[str, Any] = {
            name: read_numbers(h5, name, (counts[per], *row), finite=False).astype(kind)
            for name, (kind, per, row) in _ARRAYS.items()
        }
        _require_use(values, views)
        return Scene(
            image_root=root,
            views=views,
            warnings=read_texts(h5, "warnings"),
            priors=_priors(read_text(h5, "priors")) if entry(h5, "priors") is not None else None,
            depths=_maps(h5, "depths", views),
            confidences=_maps(h5, "confidences", views),
            **{
                name: read_numbers(h5, name, (counts[per], *row), finite=False).astype(np.float64)
                for name, (per, row) in _OPTIONAL_ARRAYS.items()
                if entry(h5, name) is not None
            },
            **values,
        )


def write_scenes(path: Path, scenes: Sequence[Scene]) -> None:
    """Write the parts of an alignment: the first to `path` (scene.h5), the others beside it (scene_1.h5, …).

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    for stale in _others(path):
        stale.unlink()
    for number, scene in enumerate(scenes[1:], start=1):
        write_scene(path.with_stem(f"{path.stem}_{number}"), scene)
    write_scene(path, scenes[0])


def read_scenes(path: Path, image_root: Path | None = None) -> list[Scene]:
    """Read a scene and the parts beside it, as `write_scenes` left them; see `read_scene`.

    Raises:
        InputError: a file is damaged, not a scene, or of a version that this release does not read.
    """
    return [read_scene(file, image_root) for file in (path, *_others(path))]


def _others(path: Path) -> list[Path]:
    """The files of the other parts, in order."""
    numbered = {
        int(number): file
        for file in path.parent.glob(f"{path.stem}_*{path.suffix}")
        if (number := file.stem.removeprefix(f"{path.stem}_")).isdecimal()
    }
    return [file for _, file in sorted(numbered.items())]


def _write_views(h5: h5py.File, views: tuple[View, ...]) -> None:
    """Write the views: strings, and the arrays of `_VIEW_ARRAYS`."""
    cameras = [json.dumps(asdict(view.known_camera) if view.known_camera else None) for view in views]
    _write_strings(h5, "names", [view.name for view in views])
    _write_strings(h5, "masks", [str(view.mask or "") for view in views])
    _write_strings(h5, "known_cameras", cameras)
    for name, (field, kind, row) in _VIEW_ARRAYS.items():
        values = (getattr(view, field) for view in views)
        rows = [np.full(row, np.nan) if value is None else value for value in values]
        h5[name] = np.array(rows, kind).reshape(len(views), *row)


def _read_views(h5: h5py.File, root: Path) -> tuple[View, ...]:
    names = read_texts(h5, "names")
    cameras, masks = (read_texts(h5, name, len(names)) for name in ("known_cameras", "masks"))
    tables = _tables(h5, _VIEW_ARRAYS, len(names))
    return _views(root, names, [_known_camera(text) for text in cameras], masks, tables)


def _read_views_1(h5: h5py.File, root: Path) -> tuple[View, ...]:
    """The views of version 1: what is known is the scene's own, and orientations and masks were not kept."""
    names = read_texts(h5, "names")
    count = len(names)
    given = entry(h5, "known_cameras") is not None
    texts = read_texts(h5, "known_cameras", count) if given else ("null",) * count
    cameras = [_known_camera(text) for text in texts]
    calibrated = np.array([camera is not None for camera in cameras], bool)
    posed = np.zeros(count, bool)
    if entry(h5, "known_poses") is not None:
        posed = read_numbers(h5, "known_poses", (count,)).astype(bool)
    tables = _tables(h5, ("image_sizes", "network_sizes", "network_from_image", "camera_groups"), count)
    intrinsics, poses = (
        read_numbers(h5, name, (count, *_ARRAYS[name][2]), finite=False) for name in ("intrinsics", "cam_from_world")
    )
    tables |= {
        "orientations": np.ones(count, np.int64),
        "focal_priors": np.full(count, np.nan),
        "known_intrinsics": np.where(calibrated[:, None, None], intrinsics, np.nan),
        "known_cam_from_world": np.where(posed[:, None, None], poses, np.nan),
    }
    return _views(root, names, cameras, ("",) * count, tables)


def _views(
    root: Path,
    names: Sequence[str],
    cameras: Sequence[KnownCamera | None],
    masks: Sequence[str],
    tables: Mapping[str, np.ndarray],
) -> tuple[View, ...]:
    columns = {field: [_value(row, kind) for row in tables[name]] for name, (field, kind, _) in _VIEW_ARRAYS.items()}
    return tuple(
        View(
            name=name,
            path=root / name,
            mask=Path(mask) if mask else None,
            known_camera=camera,
            **{field: column[index] for field, column in columns.items()},
        )
        for index, (name, camera, mask) in enumerate(zip(names, cameras, masks, strict=True))
    )


def _value(row: Any, kind: type) -> Any:
    """A row of `_VIEW_ARRAYS` as the value of its field: None where it is NaN, pairs of integers as tuples."""
    values: np.ndarray = np.asarray(row, kind)
    if kind is np.float64 and np.isnan(values).all():
        return None
    if values.ndim == 2:
        return values
    return tuple(values.tolist()) if values.ndim else values.item()


def _known_camera(text: str) -> KnownCamera | None:
    camera = json.loads(text)
    if camera is None:
        return None
    size, params = tuple(map(int, camera["size"])), tuple(map(float, camera["params"]))
    if len(size) != 2 or min(size) < 1 or not np.isfinite(params).all() or params[0] <= 0:
        raise ValueError("a known camera that cannot be")
    return KnownCamera(model=str(camera["model"]), size=size, params=params)


def _priors(text: str) -> Priors:
    content = json.loads(text)
    positions, gravity, control, distance, origin = (
        content[name] for name in ("positions", "gravity", "control", "distance", "origin")
    )
    if control is not None:
        kinds = {"xyz": np.float64, "xy": np.float64, "point_of": np.int64, "image_of": np.int64}
        arrays = {name: np.array(control[name], kind) for name, kind in kinds.items()}
        control = ControlPoints(names=tuple(control["names"]), **arrays)
    return Priors(
        positions=positions and Positions(**{name: np.array(rows, np.float64) for name, rows in positions.items()}),
        gravity=None if gravity is None else np.array(gravity, np.float64),
        control=control,
        distance=distance and (int(distance[0]), int(distance[1]), float(distance[2])),
        origin=origin and (origin[0], origin[1], origin[2]),
        offset=tuple(content["offset"]),
        upright=bool(content["upright"]),
    )


def _tables(h5: h5py.File, names: Iterable[str], count: int) -> dict[str, np.ndarray]:
    return {name: read_numbers(h5, name, (count, *_VIEW_ARRAYS[name][2]), finite=False) for name in names}


def _maps(h5: h5py.File, kind: str, views: Sequence[View]) -> tuple[np.ndarray, ...]:
    """The depths or confidences of all views."""
    shapes = (view.network_size[::-1] for view in views)
    return tuple(read_numbers(h5, f"{kind}/{index}", shape).astype(np.float32) for index, shape in enumerate(shapes))


def _require_use(values: Mapping[str, np.ndarray], views: Sequence[View]) -> None:
    """Refuse cameras that are not finite, and edges of images that are not there."""
    placed = values["registered"]
    if not all(np.isfinite(values[name][placed]).all() for name in ("intrinsics", "cam_from_world")):
        raise ValueError("a camera that is not finite")
    focals = np.diagonal(values["intrinsics"][placed], axis1=1, axis2=2)[:, :2]
    known = [view.known_cam_from_world for view in views if view.known_cam_from_world is not None]
    if not (focals > 0).all() or not are_rigid(np.array([*values["cam_from_world"][placed], *known]).reshape(-1, 3, 4)):
        raise ValueError("a camera that cannot be")
    if len(values["edges"]) and not ((values["edges"] >= 0) & (values["edges"] < len(views))).all():
        raise ValueError("an edge of an image that is not there")


def _write_strings(h5: h5py.File, name: str, strings: Sequence[str]) -> None:
    h5[name] = np.array(strings, h5py.string_dtype())
