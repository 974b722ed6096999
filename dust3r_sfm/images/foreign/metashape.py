"""Cameras of Agisoft Metashape (File > Export > Export Cameras, XML; Metashape's manual, appendix "Camera models").

Poses are camera to chunk, axes x right, y down, z forward; the chunk's own transform leads on to the world. Its p1 and
p2 are OpenCV's in the other order, and its principal point counts from the middle of the picture.
"""

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, parse

import numpy as np
from jaxtyping import Float64

from dust3r_sfm.errors import InputError
from dust3r_sfm.images.foreign.camera import ForeignCamera, from_world_from_cam, lens
from dust3r_sfm.types import KnownCamera

_UNREAD = ("b2", "k4", "p3", "p4")
"""Coefficients of a frame camera that COLMAP's models lack."""


def read_metashape(source: Path) -> dict[str, ForeignCamera]:
    """Read the aligned cameras of a file of cameras.

    Raises:
        InputError: the file is no such file, or holds lenses or poses that are not read.
    """
    try:
        chunk = parse(source).getroot().find("chunk")
        if chunk is None:
            raise ValueError("no chunk")
        lenses = {sensor.get("id"): _lens(sensor, source) for sensor in chunk.iterfind("sensors/sensor")}
        world_from_chunk = _chunk_transform(chunk)
        found = {}
        for camera in chunk.iter("camera"):
            label, transform = camera.get("label") or "", camera.find("transform")
            if transform is None or camera.get("enabled") == "false":
                continue  # Metashape did not align it
            if camera.get("master_id") is not None:
                raise InputError(f"{source} has a rig ({label} has a master), which is not read.", path=source)
            pose = world_from_chunk @ _numbers(transform, 16).reshape(4, 4)
            pose[:3, :3] /= np.cbrt(abs(np.linalg.det(world_from_chunk[:3, :3])))
            found[label] = ForeignCamera(
                cam_from_world=from_world_from_cam(pose, label, source), camera=lenses[camera.get("sensor_id")]
            )
    except (OSError, ParseError, ValueError, LookupError, ArithmeticError) as error:
        raise InputError(
            f"{source} cannot be read as Metashape's file of cameras ({error!r}); export them again.", path=source
        ) from error
    return found


def _chunk_transform(chunk: Element) -> Float64[np.ndarray, "4 4"]:
    """World from chunk: a similarity; the identity where the chunk has none."""
    matrix = np.eye(4)
    transform = chunk.find("transform")
    if transform is None:
        transform = chunk.find("components/component/transform")
    if transform is None:
        return matrix
    rotation, translation, scale = (transform.find(name) for name in ("rotation", "translation", "scale"))
    if rotation is not None:
        matrix[:3, :3] = _numbers(rotation, 9).reshape(3, 3)
    if scale is not None:
        matrix[:3, :3] *= float(scale.text or 1)
    if translation is not None:
        matrix[:3, 3] = _numbers(translation, 3)
    return matrix


def _numbers(element: Element, count: int) -> Float64[np.ndarray, " c"]:
    values = np.array((element.text or "").split(), float)
    if len(values) != count:
        raise ValueError(f"{element.tag} has {len(values)} numbers")
    return values


def _lens(sensor: Element, source: Path) -> KnownCamera | None:
    """The adjusted calibration of a sensor, else the initial one; None where it has neither."""
    calibrations = sensor.findall("calibration")
    chosen = next((one for one in calibrations if one.get("class") == "adjusted"), next(iter(calibrations), None))
    if chosen is None:
        return None
    kind = chosen.get("type") or sensor.get("type") or "frame"
    if kind not in ("frame", "fisheye"):
        raise InputError(
            f"{source} has a sensor of the type {kind}, which is not read; use frame cameras.", path=source
        )
    resolution = chosen.find("resolution")
    resolution = sensor.find("resolution") if resolution is None else resolution
    if resolution is None:
        raise ValueError("a sensor without resolution")
    size = (int(resolution.get("width") or 0), int(resolution.get("height") or 0))
    value = {child.tag: float(child.text or 0) for child in chosen if child.tag not in ("resolution", "covariance")}
    unread = [name for name in _UNREAD if value.get(name)]
    if unread and kind == "frame":
        raise InputError(
            f"{source} has a lens with {' and '.join(unread)}, which COLMAP's camera models lack; calibrate without "
            "them in Metashape.",
            path=source,
        )
    focals = (value["f"] + value.get("b1", 0.0), value["f"])
    centre = (size[0] / 2 + value.get("cx", 0.0), size[1] / 2 + value.get("cy", 0.0))
    radial = {name: value.get(name, 0.0) for name in ("k1", "k2", "k3")}
    if kind == "fisheye":
        if value.get("p1") or value.get("p2") or value.get("b2"):
            raise InputError(f"{source} has a fisheye lens with p1, p2 or b2, which is not read.", path=source)
        params = (*focals, *centre, *radial.values(), value.get("k4", 0.0))
        return KnownCamera(model="OPENCV_FISHEYE", size=size, params=params)
    return lens(focals, centre, size, radial | {"p1": value.get("p2", 0.0), "p2": value.get("p1", 0.0)})
