"""How good are the depth maps and the cloud of dense_pointmaps? Compared with a COLMAP model and a depth sensor.

    python benchmarks/dense.py fused OUT PHOTOS [--reference MODEL]
    python benchmarks/dense.py depth OUT DEPTHS [--poses POSES.json]

`fused` runs stereo fusion at its default options on OUT/dense_pointmaps and prints which share of the points of
pycolmap's own model (made from PHOTOS unless given, aligned by the camera centres) has a fused point within 1 % of its
depth, and which share of the fused points lies within 2 % of the depth of a view that did not make them: once for the
cloud of all views (views that agree with a point make it, so what is left to ask are mostly views that do not see it),
by the depth maps as written and by the aligned depth before anything unsure was left out; once for clouds made without
a third of the views each, which are then asked.

`depth` compares every depth map with DEPTHS/NAME.depth.png (16-bit millimetres), for the pixels that have both. Metres
come from one factor for the whole model (the median ratio, or the camera centres of POSES.json).
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial import cKDTree

from dust3r_sfm.dense.depth_maps import read_depth
from dust3r_sfm.dense.pointmaps import on_camera
from dust3r_sfm.dense.rescale import corrected_depths
from dust3r_sfm.formats.ply import read_ply
from dust3r_sfm.geometry.procrustes import similarity
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.system._pycolmap import pycolmap

NEAR_TRACK, NEAR_VIEW = 0.01, 0.02


def colmap_model(photos: Path, folder: Path) -> Any:
    """pycolmap's incremental model at its defaults, one camera."""
    pycolmap.extract_features(folder / "database.db", photos, camera_mode=pycolmap.CameraMode.SINGLE)
    pycolmap.match_exhaustive(folder / "database.db")
    models = pycolmap.incremental_mapping(folder / "database.db", photos, folder)
    return max(models.values(), key=lambda model: model.num_reg_images())


def world_from_reference(model: Any, reference: Any) -> np.ndarray:
    """Similarity of the camera centres of the images that both have."""
    ours = {image.name: image.projection_center() for image in model.images.values()}
    theirs = {image.name: image.projection_center() for image in reference.images.values()}
    names = sorted(ours.keys() & theirs.keys())
    return similarity(np.array([theirs[name] for name in names]), np.array([ours[name] for name in names]))


def near_tracks(model: Any, reference: Any, fused: np.ndarray) -> np.ndarray:
    """Whether each reference point has a fused point within 1 % of its smallest depth."""
    transform = world_from_reference(model, reference)
    scale = np.cbrt(np.linalg.det(transform[:3, :3]))
    third_rows = {id_: image.cam_from_world().matrix()[2] for id_, image in reference.images.items()}
    points = list(reference.points3D.values())
    xyz = np.array([point.xyz for point in points])
    depth = np.array(
        [min(third_rows[element.image_id] @ [*point.xyz, 1] for element in point.track.elements) for point in points]
    )
    distance, _ = cKDTree(fused).query(xyz @ transform[:3, :3].T + transform[:3, 3])
    return distance <= NEAR_TRACK * depth * scale


def written_depths(workspace: Path, model: Any) -> dict[str, np.ndarray]:
    """The depth maps of a workspace."""
    return {image.name: read_depth(workspace / "stereo", image.name) for image in model.images.values()}


def aligned_depths(out: Path, model: Any) -> dict[str, np.ndarray]:
    """All that the alignment knows, on the cameras of the workspace: also what its depth maps leave out as not sure."""
    raw, scene = pycolmap.Reconstruction(str(out / "sparse" / "0")), read_scene(out / "scene.h5")
    depths = corrected_depths(raw, scene, dict(zip(scene.names, scene.depths, strict=True)))
    network_from_image = dict(zip(scene.names, scene.network_from_image, strict=True))
    return {
        image.name: on_camera(
            depths[image.name], network_from_image[image.name], raw.images[image.image_id].camera, image.camera
        )
        for image in model.images.values()
    }


def seen_elsewhere(
    depths: dict[str, np.ndarray], model: Any, fused: np.ndarray, makers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which fused points a view that did not make them has a depth for, and which agree with such a depth."""
    testable, agrees = np.zeros(len(fused), bool), np.zeros(len(fused), bool)
    for index, image in enumerate(ordered_images(model)):
        depth = depths[image.name]
        in_camera = fused @ image.cam_from_world().matrix()[:, :3].T + image.cam_from_world().matrix()[:, 3]
        homogeneous = in_camera @ image.camera.calibration_matrix().T
        column, row = np.floor(homogeneous[:, :2] / homogeneous[:, 2:]).astype(int).T
        inside = (in_camera[:, 2] > 0) & (column >= 0) & (row >= 0)
        inside &= (column < depth.shape[1]) & (row < depth.shape[0])
        found = np.where(inside, depth[row.clip(0, depth.shape[0] - 1), column.clip(0, depth.shape[1] - 1)], 0)
        other = (found > 0) & ~makers[:, index]
        testable |= other
        agrees |= other & (np.abs(found / np.where(inside, in_camera[:, 2], 1) - 1) <= NEAR_VIEW)
    return testable, agrees


def held_out(workspace: Path, model: Any) -> tuple[int, int]:
    """Fuse without each third of the views: points that the third has a depth for, and those that agree with one."""
    names = sorted(image.name for image in model.images.values())
    num_testable, num_agreeing = 0, 0
    for fold in range(3):
        with tempfile.TemporaryDirectory() as temporary:
            part = Path(temporary) / "part"
            (part / "stereo").mkdir(parents=True)
            for name in ("images", "sparse", "stereo/depth_maps", "stereo/normal_maps"):
                (part / name).symlink_to((workspace / name).resolve())
            made_by = [name for index, name in enumerate(names) if index % 3 != fold]
            (part / "stereo" / "fusion.cfg").write_text("\n".join(made_by) + "\n", encoding="utf-8")
            pycolmap.stereo_fusion(str(part.with_name("fused.ply")), str(part), output_type="PLY")
            cloud = read_ply(part.with_name("fused.ply")).xyz.astype(float)
            makers = np.tile([image.name in made_by for image in ordered_images(model)], (len(cloud), 1))
            testable, agrees = seen_elsewhere(written_depths(part, model), model, cloud, makers)
            num_testable += int(testable.sum())
            num_agreeing += int(agrees.sum())
    return num_testable, num_agreeing


def ordered_images(model: Any) -> list[Any]:
    """Images in the order of COLMAP's fused.ply.vis."""
    return [model.images[image_id] for image_id in sorted(model.reg_image_ids())]


def read_visibility(path: Path, num_points: int) -> np.ndarray:
    """Table (points, images) of who made what, from COLMAP's fused.ply.vis."""
    values = np.fromfile(path, "<u4", offset=8)
    rows, position = [], 0
    for point in range(num_points):
        count = int(values[position])
        rows += [(point, image) for image in values[position + 1 : position + 1 + count]]
        position += 1 + count
    table = np.array(rows, int)
    makers = np.zeros((num_points, table[:, 1].max() + 1), bool)
    makers[table[:, 0], table[:, 1]] = True
    return makers


def fused(arguments: argparse.Namespace) -> dict[str, object]:
    """Fuse, and compare with the reference and across views."""
    workspace = arguments.out / "dense_pointmaps"
    model = pycolmap.Reconstruction(str(workspace / "sparse"))
    with tempfile.TemporaryDirectory() as temporary:
        reference = (
            pycolmap.Reconstruction(str(arguments.reference))
            if arguments.reference
            else colmap_model(arguments.photos, Path(temporary))
        )
        path = workspace.with_name("fused.ply")
        pycolmap.stereo_fusion(str(path), str(workspace), output_type="PLY")
    cloud = read_ply(path).xyz.astype(float)
    near = near_tracks(model, reference, cloud)
    makers = read_visibility(workspace.with_name("fused.ply.vis"), len(cloud))
    written = written_depths(workspace, model)
    testable, agrees = seen_elsewhere(written, model, cloud, makers)
    _, agrees_aligned = seen_elsewhere(aligned_depths(arguments.out, model), model, cloud, makers)
    num_held_out, num_agreeing = held_out(workspace, model)
    return {
        "fused_points": len(cloud),
        "reference_points": len(near),
        "tracks_within_1_percent": round(float(near.mean()), 4),
        "points_within_2_percent_of_another_view": round(float(agrees.mean()), 4),
        "points_within_2_percent_of_the_aligned_depth_of_another_view": round(float(agrees_aligned.mean()), 4),
        "of_those_another_view_sees": round(float(agrees.sum() / testable.sum()), 4),
        "held_out": round(num_agreeing / num_held_out, 4),
        "pixels_with_depth": round(float(np.mean([(depth > 0).mean() for depth in written.values()])), 4),
        "views_that_make_a_point": round(float(makers.sum(axis=1).mean()), 2),
    }


def depth(arguments: argparse.Namespace) -> dict[str, object]:
    """Compare depth maps with a sensor's."""
    workspace = arguments.out / "dense_pointmaps"
    model = pycolmap.Reconstruction(str(workspace / "sparse"))
    raw = pycolmap.Reconstruction(str(arguments.out / "sparse" / "0"))
    ratios, sizes = [], []
    for image in raw.images.values():
        found = read_depth(workspace / "stereo", image.name)
        sensor = cv2.imread(str(sensor_file(arguments.depths, image.name)), cv2.IMREAD_UNCHANGED) / 1000.0
        camera = model.images[image.image_id].camera
        column, row = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
        matrix = camera.calibration_matrix()
        rays = np.stack([(column - matrix[0, 2]) / matrix[0, 0], (row - matrix[1, 2]) / matrix[1, 1]], -1).reshape(
            -1, 2
        )
        # The sensor's depth belongs to the raw pixels of the photograph.
        xy = image.camera.img_from_cam(np.column_stack([rays, np.ones(len(rays))])).astype(int).T
        truth = sensor[xy[1].clip(0, sensor.shape[0] - 1), xy[0].clip(0, sensor.shape[1] - 1)].reshape(found.shape)
        both = (found > 0) & (truth > 0)
        ratios.append(np.log(truth[both] / found[both]))
        sizes.append(both.sum() / (truth > 0).sum())
    everything = np.concatenate(ratios)
    metres = np.median(everything)
    if arguments.poses:
        metres = np.log(metric_scale(model, json.loads(arguments.poses.read_text(encoding="utf-8"))))
    error = np.abs(np.expm1(everything - metres))
    own_scale = np.abs(np.expm1(np.concatenate([ratio - np.median(ratio) for ratio in ratios])))
    return {
        "images": len(ratios),
        "pixels_with_both": round(float(np.mean(sizes)), 4),
        "median_relative_error": round(float(np.median(error)), 4),
        "within_5_percent": round(float(np.mean(error < 0.05)), 4),
        "median_error_with_a_scale_per_image": round(float(np.median(own_scale)), 4),
        "spread_of_the_images_scales": round(float(np.std([np.median(ratio) for ratio in ratios])), 4),
    }


def sensor_file(folder: Path, name: str) -> Path:
    """seq-01/frame-000000.color.jpg → frame-000000.depth.png"""
    return folder / f"{Path(name).name.split('.')[0]}.depth.png"


def metric_scale(model: Any, poses: dict[str, Any]) -> float:
    """Metres per unit of the model, from the camera centres."""
    ours, metric = [], []
    for image in model.images.values():
        entry = poses[image.name]
        w, x, y, z = entry["qvec_cam_from_world"]
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d([x, y, z, w]), entry["tvec"])
        ours.append(image.projection_center())
        metric.append(pose.inverse().translation)
    return float(np.cbrt(np.linalg.det(similarity(np.array(ours), np.array(metric))[:3, :3])))


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("fused")
    command.add_argument("out", type=Path)
    command.add_argument("photos", type=Path)
    command.add_argument("--reference", type=Path, help="a COLMAP model of the photographs")
    command.set_defaults(run=fused)
    command = commands.add_parser("depth")
    command.add_argument("out", type=Path)
    command.add_argument("depths", type=Path)
    command.add_argument("--poses", type=Path, help="poses.json in metres")
    command.set_defaults(run=depth)
    arguments = parser.parse_args()
    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.ERROR)
    print(json.dumps(arguments.run(arguments)))


if __name__ == "__main__":
    main()
