"""What is measured of the world through the whole chain: models stand upright, on the earth, and on surveyed points."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dust3r_sfm.alignment.frame.upright import find_down
from dust3r_sfm.geometry.transforms import apply, centres, invert
from dust3r_sfm.options import KnownOptions, PairOptions, PredictOptions, ReconstructOptions, RefineOptions, RunOptions
from dust3r_sfm.reconstruct import reconstruct
from dust3r_sfm.runs.summary import Summary
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.synthetic.sample import sample
from dust3r_sfm.system._pycolmap import pycolmap

METRES_OF_UNIT = 25.0
"""The courtyard is 8 units across: a place of 200 m."""
UP = (0.0, 0.0, 1.0)
ORIGIN = (48.137, 11.575, 519.0)


def options(folder: Path, refine: str = "keypoints", **known) -> ReconstructOptions:
    return ReconstructOptions(
        predict=PredictOptions(predictor="oracle", weights=str(folder / "truth" / "scene.h5")),
        pairs=PairOptions(pairs="sequential", window=3, quadratic=False, loop_closure=False, cyclic=True),
        known=KnownOptions(**known),
        refine=RefineOptions(refine=refine),
        run=RunOptions(overwrite=True),
    )


def poses_of(out: Path) -> dict[str, np.ndarray]:
    model = pycolmap.Reconstruction(str(out / "sparse" / "0"))
    return {image.name: image.cam_from_world().matrix() for image in model.images.values()}


def true_poses(folder: Path) -> dict[str, np.ndarray]:
    entries = json.loads((folder / "truth" / "poses.json").read_text())
    return {
        name: np.column_stack(
            [Rotation.from_quat(entry["qvec_cam_from_world"], scalar_first=True).as_matrix(), entry["tvec"]]
        )
        for name, entry in entries.items()
    }


def tilt_degrees(found: dict[str, np.ndarray], true: dict[str, np.ndarray], true_up: Sequence[float] = UP) -> float:
    """Angle between z of the model and what is up in truth."""
    up = np.mean([found[name][:, :3].T @ true[name][:, :3] @ true_up for name in found], axis=0)
    return float(np.degrees(np.arccos(up[2] / np.linalg.norm(up))))


def scaled_centres(poses: dict[str, np.ndarray], names) -> np.ndarray:
    return METRES_OF_UNIT * centres(np.array([poses[name] for name in names]))


@pytest.mark.slow
def test_a_place_of_200_metres_by_gps(tmp_path):
    """3 m of noise, an eighth of the positions wrong: as good as that noise lets it be, and the wrong are named."""
    folder, out = tmp_path / "scene", tmp_path / "out"
    sample(folder, num_views=24, size=(256, 192), seed=3)
    true = true_poses(folder)
    rng = np.random.default_rng(0)
    wanted = scaled_centres(true, true)
    measured = wanted + 3.0 * rng.standard_normal(wanted.shape)
    wrong = rng.permutation(len(wanted))[:3]
    measured[wrong] += np.sign(rng.standard_normal((3, 3))) * rng.uniform(40, 300, (3, 3))
    degrees = np.asarray(pycolmap.GPSTransform().enu_to_ellipsoid(measured, *ORIGIN))
    lines = [f"{name},{lat:.9f},{lon:.9f},{alt:.3f}" for name, (lat, lon, alt) in zip(true, degrees, strict=True)]
    (tmp_path / "gps.csv").write_text("\n".join(["name,lat,lon,alt", *lines, "zero.jpg,0,0,0"]))
    summary = reconstruct(folder / "images", out, options(folder, gps=tmp_path / "gps.csv"))
    assert isinstance(summary, Summary) and "positions fit their cameras" in summary.frame
    found = poses_of(out)
    assert len(found) == len(true)
    where = json.loads((out / "georegistration.json").read_text())
    ecef = apply(np.array(where["ecef_from_model"]), centres(np.array([found[name] for name in true])))
    gps = pycolmap.GPSTransform()
    enu = np.asarray(gps.ellipsoid_to_enu(gps.ecef_to_ellipsoid(ecef), *ORIGIN))
    # A similarity has 7 unknowns: so much of the noise of the 21 right positions stays in it on average.
    assert np.sqrt(((enu - wanted) ** 2).sum(1).mean()) <= 1.3 * 3.0 * np.sqrt(7 / 21)
    assert tilt_degrees(found, true) <= 0.5
    rows = json.loads((out / "run.json").read_text())["world"]["positions"]
    names = list(true)
    assert {row["photograph"] for row in rows if row["wrong"]} == {names[index] for index in wrong}
    assert "1 of 25 names" in " ".join(summary.warnings)
    assert "not believed" in " ".join(summary.warnings)
    assert names[wrong[0]] in (out / "report.html").read_text()


def test_upright_by_default(sample_folder, tmp_path):
    true = true_poses(sample_folder)
    reconstruct(sample_folder / "images", tmp_path / "out", options(sample_folder))
    found = poses_of(tmp_path / "out")
    # Six photographs are held level to a degree or two each: the model is as upright as they are.
    scene = read_scene(sample_folder / "truth" / "scene.h5")
    down = find_down(scene.cam_from_world)
    assert down is not None and tilt_degrees(found, true, -down.direction) < 0.2
    first = found[min(found)]
    assert first[2, 1] > 0.7 and abs(first[2, 0]) < 0.05  # it looks along y
    assert "z up" in json.loads((tmp_path / "out" / "run.json").read_text())["world"]["frame"]
    reconstruct(sample_folder / "images", tmp_path / "out", options(sample_folder, upright=False))
    assert np.allclose(poses_of(tmp_path / "out")[min(found)][:, :3], np.eye(3), atol=0.1)


def test_control_points(sample_folder, tmp_path):
    """In large coordinates, as surveyors give them; one is marked in one photograph only."""
    true, scene = true_poses(sample_folder), read_scene(sample_folder / "truth" / "scene.h5")
    offset = np.array([691_608.0, 5_334_765.0, 519.0])
    lines, rng = ["point,x,y,z,image,px,py"], np.random.default_rng(0)
    for point in range(6):
        depth, matrix = scene.depths[point], scene.intrinsics[point]
        x, y = (int(rng.uniform(0.35, 0.65) * side) for side in depth.shape[::-1])
        ray = np.linalg.solve(matrix, [x + 0.5, y + 0.5, 1]) * depth[y, x]
        xyz = apply(invert(scene.cam_from_world[point]), ray[None])[0]
        place = ",".join(f"{value:.4f}" for value in METRES_OF_UNIT * xyz + offset)
        for image in range(6):
            seen = apply(scene.cam_from_world[image], xyz[None])[0]
            pixel = scene.intrinsics[image] @ seen / seen[2]
            height, width = scene.depths[image].shape
            if not (0 < pixel[0] < width and 0 < pixel[1] < height):
                continue
            if abs(scene.depths[image][int(pixel[1]), int(pixel[0])] / seen[2] - 1) < 0.003:
                raw = np.linalg.solve(scene.network_from_image[image], pixel)
                lines.append(f"P{point},{place},{scene.names[image]},{raw[0]:.2f},{raw[1]:.2f}")
    lines.append(f"alone,{offset[0]},{offset[1]},{offset[2]},{scene.names[0]},5,5")
    (tmp_path / "control.csv").write_text("\n".join(lines))
    summary = reconstruct(
        sample_folder / "images", tmp_path / "out", options(sample_folder, control_points=tmp_path / "control.csv")
    )
    assert summary is not None and "control points fit" in summary.frame
    assert any("alone is left out" in sentence for sentence in summary.warnings)
    found = poses_of(tmp_path / "out")
    where = np.array(json.loads((tmp_path / "out" / "georegistration.json").read_text())["given_from_model"])
    centres_found = apply(where, centres(np.array([found[name] for name in true])))
    assert np.abs(centres_found - scaled_centres(true, true) - offset).max() < 0.5
    assert tilt_degrees(found, true) < 0.2
    rows = json.loads((tmp_path / "out" / "run.json").read_text())["world"]["control_points"]
    assert all(np.linalg.norm(row["miss_m"]) < 0.2 and row["error_px"] < 1.0 for row in rows)
    assert "P0" in (tmp_path / "out" / "report.html").read_text()
