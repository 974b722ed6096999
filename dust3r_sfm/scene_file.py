"""`scene.h5`: a `Scene` as an HDF5 file that is whole or absent.

Arrays stand under the names of their fields; depths and confidences are one dataset per image, compressed. Depths keep
their single precision: rounding them to half moves points by up to 0.05 %, which is the error of a good depth.
Confidences are heuristic and are kept in half precision.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dust3r_sfm.errors import InputError
from dust3r_sfm.system.files import atomic_path
from dust3r_sfm.types import KnownCamera, Scene

FORMAT = "dust3r_sfm scene"
VERSION = 1
HALF_MAX = float(np.finfo(np.float16).max)
ARRAYS: dict[str, tuple[type, str, tuple[int, ...]]] = {
    "image_sizes": (np.int64, "image", (2,)),
    "network_sizes": (np.int64, "image", (2,)),
    "network_from_image": (np.float64, "image", (3, 3)),
    "camera_groups": (np.int64, "image", ()),
    "intrinsics": (np.float64, "image", (3, 3)),
    "cam_from_world": (np.float64, "image", (3, 4)),
    "registered": (np.bool_, "image", ()),
    "edges": (np.int64, "edge", (2,)),
    "world_from_edge": (np.float64, "edge", (4, 4)),
    "edge_weights": (np.float64, "edge", ()),
    "edge_residuals": (np.float64, "edge", ()),
}
"""Type of each field, whether it has a row per image or per edge, and the shape of a row."""
OPTIONAL_ARRAYS = ("edge_cycles", "covariances")


def write_scene(path: Path, scene: Scene) -> None:
    """Write a scene atomically.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as h5:
        h5.attrs["format"] = FORMAT
        h5.attrs["version"] = VERSION
        h5.attrs["image_root"] = str(scene.image_root)
        h5["names"] = np.array(scene.names, h5py.string_dtype())
        h5["warnings"] = np.array(scene.warnings, h5py.string_dtype())
        for name in ARRAYS:
            h5[name] = getattr(scene, name)
        for name in OPTIONAL_ARRAYS:
            if getattr(scene, name) is not None:
                h5[name] = getattr(scene, name)
        if scene.known_cameras:
            cameras = [json.dumps(asdict(camera) if camera else None) for camera in scene.known_cameras]
            h5["known_cameras"] = np.array(cameras, h5py.string_dtype())
        if scene.known_poses is not None:
            h5["known_poses"] = scene.known_poses
        for index, (depth, confidence) in enumerate(zip(scene.depths, scene.confidences, strict=True)):
            for kind, values in (
                ("depths", depth),
                ("confidences", np.minimum(confidence, HALF_MAX).astype(np.float16)),
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
    """Read a scene.

    Args:
        path: the file.
        image_root: where the photographs are now; default: where they were when the scene was made.

    Raises:
        InputError: the file is absent, damaged, not a scene, or of a version that this release does not read.
    """
    with _reading(path) as h5:
        if h5.attrs.get("format") != FORMAT:
            raise InputError(f"{path} is not a scene file; give the scene.h5 of an output folder.")
        if h5.attrs["version"] != VERSION:
            raise InputError(
                f"{path} is a scene of version {h5.attrs['version']}, this release reads version {VERSION}; "
                "align the photographs again."
            )
        names = tuple(str(name) for name in h5["names"].asstr()[()])
        values: dict[str, Any] = {name: h5[name][()].astype(kind) for name, (kind, _, _) in ARRAYS.items()}
        counts = {"image": len(names), "edge": len(values["edges"])}
        if any(values[name].shape != (counts[per], *row) for name, (_, per, row) in ARRAYS.items()):
            raise ValueError("the arrays do not fit each other")
        return Scene(
            image_root=image_root if image_root is not None else Path(h5.attrs["image_root"]),
            names=names,
            warnings=tuple(str(sentence) for sentence in h5["warnings"].asstr()[()]),
            depths=tuple(h5[f"depths/{i}"][()].astype(np.float32) for i in range(len(names))),
            confidences=tuple(h5[f"confidences/{i}"][()].astype(np.float32) for i in range(len(names))),
            **{name: h5[name][()].astype(np.float64) for name in OPTIONAL_ARRAYS if name in h5},
            known_cameras=_known_cameras(h5["known_cameras"].asstr()[()].tolist()) if "known_cameras" in h5 else (),
            known_poses=h5["known_poses"][()].astype(np.bool_) if "known_poses" in h5 else None,
            **values,
        )


def _known_cameras(texts: Sequence[str]) -> tuple[KnownCamera | None, ...]:
    found = (json.loads(text) for text in texts)
    return tuple(
        KnownCamera(model=camera["model"], size=tuple(camera["size"]), params=tuple(camera["params"]))
        if camera
        else None
        for camera in found
    )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[h5py.File]:
    """Open a file; whatever it lacks becomes a sentence."""
    if not path.is_file():
        raise InputError(f"There is no scene file {path}; align the photographs first.")
    try:
        with h5py.File(path, "r") as h5:
            yield h5
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged or not a scene file; align the photographs again.") from error
