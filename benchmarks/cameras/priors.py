"""How well do GPS positions, gravity and control points place a model?

A rendered courtyard is taken for a place 200 m across, by its units. GPS has 3 m of noise in each coordinate, and every
tenth position is wrong by 30 to 300 m. Nothing is aligned before the comparison: models are taken where they are.
Pointmaps are the oracle's, as pairs are not the question; cameras are refined on keypoints of the photographs. What
noise leaves to the best similarity, seven unknowns, is 3 m times the square root of 7 over the right positions.

    python benchmarks/cameras/priors.py [--views 120] [--seeds 0 1 2]
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.common import RESULTS, Row, about, read_rows, stamped, write_record
from dust3r_sfm.geometry.transforms import apply, centres, invert
from dust3r_sfm.options import KnownOptions, PairOptions, PredictOptions, ReconstructOptions, RunOptions
from dust3r_sfm.reconstruct import reconstruct
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.synthetic.sample import sample
from dust3r_sfm.system._pycolmap import pycolmap

METRES_OF_UNIT = 25.0
GPS_SIGMA_METRES, SHARE_WRONG = 3.0, 0.1
ORIGIN = (48.137, 11.575, 519.0)
SURVEY_OFFSET = np.array([691_608.0, 5_334_765.0, 519.0])
NUM_CONTROL_POINTS, MARK_SIGMA_PX = 8, 0.5


def main() -> None:
    """Measure every kind of prior for every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", default=["upright", "gps", "control"])
    arguments = parser.parse_args()
    rows = read_rows(RESULTS / "priors.json")
    with tempfile.TemporaryDirectory() as folder:
        for seed in arguments.seeds:
            scene = Path(folder) / f"scene{seed}"
            sample(scene, num_views=arguments.views, size=(384, 288), seed=seed)
            for row in measure(scene, seed, arguments.kinds):
                same = [old for old in rows if all(old[key] == row[key] for key in ("kind", "seed", "views"))]
                rows = [*(old for old in rows if old not in same), stamped(row)]
                run = about()
                run["command"] = run["command"].replace("benchmarks/", "benchmarks/cameras/")
                write_record(RESULTS / "priors.json", rows, run)


def measure(scene: Path, seed: int, kinds: list[str]) -> Iterator[Row]:
    """Reconstruct with each kind of prior, and compare cameras with the truth."""
    truth = json.loads((scene / "truth" / "poses.json").read_text())
    rng = np.random.default_rng(seed)
    for kind in kinds:
        out = scene / "out"  # only what depends on the priors is done again
        known = KnownOptions()
        if kind.startswith("gps"):
            known = KnownOptions(gps=write_gps(scene / "gps.csv", truth, np.random.default_rng(seed)))
        if kind == "control":
            known = KnownOptions(control_points=write_control(scene / "control.csv", scene, truth, rng))
        options = ReconstructOptions(
            predict=PredictOptions(predictor="oracle", weights=str(scene / "truth" / "scene.h5")),
            pairs=PairOptions(pairs="sequential", window=3, quadratic=False, loop_closure=False, cyclic=True),
            known=known,
            run=RunOptions(seed=seed, overwrite=True),
        )
        reconstruct(scene / "images", out, options)
        row = {"kind": kind, "seed": seed, "views": len(truth), **compare(out, truth, kind)}
        print(json.dumps(row), flush=True)
        yield row


def pose_of(entry: Mapping[str, Any]) -> np.ndarray:
    """The true raw camera from world."""
    rotation = Rotation.from_quat(entry["qvec_cam_from_world"], scalar_first=True).as_matrix()
    return np.column_stack([rotation, entry["tvec"]])


def write_gps(path: Path, truth: Mapping[str, Any], rng: np.random.Generator) -> Path:
    """Write latitudes and longitudes of noisy and of wrong positions."""
    true = METRES_OF_UNIT * centres(np.array([pose_of(entry) for entry in truth.values()]))
    measured = true + GPS_SIGMA_METRES * rng.standard_normal(true.shape)
    wrong = rng.permutation(len(true))[: round(SHARE_WRONG * len(true))]
    directions = rng.standard_normal((len(wrong), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    measured[wrong] += directions * rng.uniform(30, 300, (len(wrong), 1))
    degrees = pycolmap.GPSTransform().enu_to_ellipsoid(measured, *ORIGIN)
    lines = [f"{name},{lat:.9f},{lon:.9f},{alt:.3f}" for name, (lat, lon, alt) in zip(truth, degrees, strict=True)]
    path.write_text("\n".join(["name,lat,lon,alt", *lines]), encoding="utf-8-sig")
    return path


def write_control(path: Path, scene: Path, truth: Mapping[str, Any], rng: np.random.Generator) -> Path:
    """Write points on the surfaces, marked wherever they are seen."""
    true = read_scene(scene / "truth" / "scene.h5")
    lines = ["point,x,y,z,image,px,py"]
    for point in range(NUM_CONTROL_POINTS):
        image = point * len(truth) // NUM_CONTROL_POINTS
        height, width = true.depths[image].shape
        x, y = int(rng.uniform(0.3, 0.7) * width), int(rng.uniform(0.3, 0.7) * height)
        ray = np.linalg.solve(true.intrinsics[image], [x + 0.5, y + 0.5, 1.0]) * true.depths[image][y, x]
        xyz = apply(invert(true.cam_from_world[image]), ray[None])[0]
        place = ",".join(f"{value:.4f}" for value in METRES_OF_UNIT * xyz + SURVEY_OFFSET)
        for other, name in enumerate(true.names):
            mark = seen_at(true, other, xyz)
            if mark is not None:
                mark += MARK_SIGMA_PX * rng.standard_normal(2)
                lines.append(f"P{point},{place},{name},{mark[0]:.2f},{mark[1]:.2f}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def seen_at(true: Any, image: int, xyz: np.ndarray) -> np.ndarray | None:
    """The raw pixel of a point in a photograph; None where something hides it."""
    point = apply(true.cam_from_world[image], xyz[None])[0]
    if point[2] <= 0:
        return None
    pixel = (true.intrinsics[image] @ point)[:2] / point[2]
    height, width = true.depths[image].shape
    if not (2 < pixel[0] < width - 2 and 2 < pixel[1] < height - 2):
        return None
    if abs(true.depths[image][int(pixel[1]), int(pixel[0])] / point[2] - 1) > 0.005:
        return None
    raw = np.linalg.solve(true.network_from_image[image], [*pixel, 1.0])
    return np.asarray(raw[:2] / raw[2])


def compare(out: Path, truth: Mapping[str, Any], kind: str) -> Row:
    """Errors of centres in metres without any alignment, and of the vertical in degrees."""
    model = pycolmap.Reconstruction(str(out / "sparse" / "0"))
    images = sorted(model.images.values(), key=lambda image: str(image.name))
    found = np.array([image.cam_from_world().matrix() for image in images])
    true = np.array([pose_of(truth[image.name]) for image in images])
    ups = np.einsum("nji,nj->ni", found[:, :, :3], true[:, :, 2])
    up = ups.mean(0) / np.linalg.norm(ups.mean(0))
    row: Row = {
        "registered": len(images),
        "tilt_degrees": round(float(np.degrees(np.arccos(np.clip(up[2], -1, 1)))), 3),
        "frame": json.loads((out / "run.json").read_text())["world"]["sentence"],
    }
    if kind == "upright":
        return row
    expected = METRES_OF_UNIT * centres(true)
    where = json.loads((out / "georegistration.json").read_text())
    if kind == "control":
        errors = apply(np.array(where["given_from_model"]), centres(found)) - SURVEY_OFFSET - expected
    else:
        ecef = apply(np.array(where["ecef_from_model"]), centres(found))
        gps = pycolmap.GPSTransform()
        errors = np.asarray(gps.ellipsoid_to_enu(gps.ecef_to_ellipsoid(ecef), *ORIGIN)) - expected
    fit = pycolmap.estimate_sim3d(centres(found), expected)
    shape = fit * centres(found) - expected if fit is not None else errors
    row["centre_rms_m"] = round(float(np.sqrt((errors**2).sum(1).mean())), 3)
    row["shape_rms_m"] = round(float(np.sqrt((shape**2).sum(1).mean())), 3)
    return row


if __name__ == "__main__":
    main()
