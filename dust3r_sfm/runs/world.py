"""How a finished model lies in the world: its frame, and by how much it misses each measurement."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dust3r_sfm.alignment.frame.control import triangulated
from dust3r_sfm.colmap.camera_models import cameras_of
from dust3r_sfm.colmap.model import Reconstruction
from dust3r_sfm.geometry.transforms import apply, centres
from dust3r_sfm.system.files import write_json
from dust3r_sfm.tracks.cameras import PosedCameras
from dust3r_sfm.types import ControlPoints, Positions, Priors, Scene

GEOREGISTRATION: str = "georegistration.json"
"""File that says where the model is on the earth."""

_WRONG_STANDARD_DEVIATIONS = 4.0
"""A position that the model misses by more in a coordinate, and by more than most, is called wrong; chosen by hand."""
_SIGMA_OF_MEDIAN = 1.4826
"""Standard deviation over median of a normal distribution's absolute values."""
_MAX_NUM_NAMES = 8
"""Photographs that a sentence names; chosen by hand."""


@dataclass(frozen=True, kw_only=True)
class WorldFacts:
    """How a model lies in the world, as JSON values.

    Attributes:
        sentence: frame and errors, for the summary.
        warnings: positions and points that contradict the model.
        content: for run.json: `frame`, the axis that points `up`, and of what is measured `positions` and
            `control_points`.
    """

    sentence: str
    warnings: list[str]
    content: dict[str, Any]


def world_facts(model: Reconstruction, scene: Scene) -> WorldFacts:
    """Compare a model with what is measured of its world."""
    priors = scene.priors
    if scene.known_poses.any():
        return _plain("that of the known poses")
    if priors is None or not priors.upright:
        return _plain("that of the first camera: x right, y down; nothing says which way is up", "-y")
    cameras = cameras_of(model, len(scene.names))
    if priors.control is not None:
        facts = _control(priors.control, cameras, scene)
        if priors.positions is not None:
            facts.content.update(_positions(priors.positions, cameras, scene).content)
        return _named(facts, "metres of the control points, z up", priors)
    if priors.positions is not None:
        frame = "metres of the given positions, z up" if priors.origin is None else "metres east, north and up"
        return _named(_positions(priors.positions, cameras, scene), frame, priors)
    return _plain("upright, z up; the first camera looks along y", "z")


def write_georegistration(path: Path, priors: Priors | None) -> None:
    """Write how a model's frame follows from the earth's or the given one; without either, remove what is there.

    `ecef_from_model` takes the model's coordinates to earth-centred, earth-fixed ones (WGS84, metres); for local
    coordinates `given_from_model` is a shift.
    """
    from dust3r_sfm.system._pycolmap import pycolmap

    if priors is None or (priors.positions is None and priors.control is None):
        path.unlink(missing_ok=True)
        return
    if priors.origin is None:
        given_from_model = np.eye(4)
        given_from_model[:3, 3] = priors.offset
        write_json(path, {"axes": "x, y, z up, metres", "given_from_model": given_from_model.tolist()})
        return
    latitude, longitude, height = priors.origin
    gps = pycolmap.GPSTransform()
    corners = np.asarray(gps.enu_to_ecef(np.vstack([np.zeros(3), np.eye(3)]), *priors.origin))
    ecef_from_model = np.eye(4)
    ecef_from_model[:3, 3], ecef_from_model[:3, :3] = corners[0], (corners[1:] - corners[0]).T
    origin = {"latitude": latitude, "longitude": longitude, "height_m": height}
    write_json(path, {"axes": "east, north, up, metres", "origin": origin, "ecef_from_model": ecef_from_model.tolist()})


def _plain(frame: str, up: str | None = None) -> WorldFacts:
    return WorldFacts(sentence=frame, warnings=[], content={"frame": frame} | ({"up": up} if up else {}))


def _named(facts: WorldFacts, frame: str, priors: Priors) -> WorldFacts:
    if priors.origin is not None:
        frame += " of {:.7f}, {:.7f}, {:.1f} m".format(*priors.origin)
    content = {"frame": frame, "up": "z", **facts.content}
    return WorldFacts(sentence=f"{frame}; {facts.sentence}", warnings=facts.warnings, content=content)


def _positions(positions: Positions, cameras: PosedCameras, scene: Scene) -> WorldFacts:
    known = np.flatnonzero(cameras.posed & np.isfinite(positions.xyz).all(1))
    misses = centres(cameras.cam_from_world[known]) - positions.xyz[known]
    usual = _SIGMA_OF_MEDIAN * np.median(np.abs(misses), axis=0) if len(misses) else np.zeros(3)
    limits = _WRONG_STANDARD_DEVIATIONS * np.maximum(positions.sigmas[known], usual)
    wrong = (np.abs(misses) > limits).any(1)
    rms = float(np.sqrt((misses[~wrong] ** 2).sum(1).mean())) if (~wrong).any() else float("nan")
    rows = [
        {"photograph": scene.names[image], "miss_m": miss.tolist(), "wrong": is_wrong}
        for image, miss, is_wrong in zip(known.tolist(), misses, wrong.tolist(), strict=True)
    ]
    missed = [f"{row['photograph']} ({np.linalg.norm(row['miss_m']):.1f} m)" for row in rows if row["wrong"]]
    more = f" and {len(missed) - _MAX_NUM_NAMES} more" if len(missed) > _MAX_NUM_NAMES else ""
    listed = f"{', '.join(missed[:_MAX_NUM_NAMES])}{more}"
    warnings = [f"{len(missed)} positions miss their cameras and are not believed: {listed}."] if missed else []
    return WorldFacts(
        sentence=f"{(~wrong).sum()} of {len(known)} positions fit their cameras to {rms:.2f} m",
        warnings=warnings,
        content={"positions": rows},
    )


def _control(control: ControlPoints, cameras: PosedCameras, scene: Scene) -> WorldFacts:
    found, rows, warnings = triangulated(control, cameras), [], []
    for point, name in enumerate(control.names):
        marks = np.flatnonzero((control.point_of == point) & cameras.posed[control.image_of])
        errors = [_mark_error(cameras, control, mark) for mark in marks.tolist()]
        rms_px = float(np.sqrt(np.mean(np.square(errors)))) if errors else np.inf
        miss = found[point] - control.xyz[point]
        is_found = bool(np.isfinite(miss).all())
        rows.append(
            {
                "point": name,
                "miss_m": miss.tolist() if is_found else None,
                "error_px": rms_px if np.isfinite(rms_px) else None,
                "photographs": [scene.names[image] for image in control.image_of[marks].tolist()],
            }
        )
        if not is_found:
            warnings.append(f"Control point {name} cannot be found in the model: its marks do not agree.")
    misses = (found - control.xyz)[np.isfinite(found).all(1)]
    rms = float(np.sqrt((misses**2).sum(1).mean())) if len(misses) else float("nan")
    return WorldFacts(
        sentence=f"{len(misses)} of {len(found)} control points fit to {rms:.3f} m",
        warnings=warnings,
        content={"control_points": rows},
    )


def _mark_error(cameras: PosedCameras, control: ControlPoints, mark: int) -> float:
    """Distance in undistorted raw pixels between a mark and the surveyed point; infinite behind the camera."""
    image = int(control.image_of[mark])
    point = apply(cameras.cam_from_world[image], control.xyz[None, control.point_of[mark]])[0]
    if point[2] <= 0:
        return float("inf")
    matrix = cameras.matrices[image]
    seen = point[:2] / point[2] * matrix[(0, 1), (0, 1)] + matrix[:2, 2]
    return float(np.linalg.norm(seen - cameras.undistort(image, control.xy[None, mark])[0]))
