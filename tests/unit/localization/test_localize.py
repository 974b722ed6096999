"""The whole way: photographs against maps with depth, with points, with poses alone; files, resume, refusals."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.cli import main
from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import centres, rotation_angle
from dust3r_sfm.images.colmap_models import read_model
from dust3r_sfm.images.read import read_images
from dust3r_sfm.localization.lift import DepthLift
from dust3r_sfm.localization.localize import localize_image, localize_queries
from dust3r_sfm.localization.open_map import make_map, open_map
from dust3r_sfm.localization.posed import triangulated_depths
from dust3r_sfm.localization.queries import Query
from dust3r_sfm.localization.reference import covisible_groups, model_of_poses, read_reference
from dust3r_sfm.options import ImageOptions, LocalizeOptions, PredictOptions
from dust3r_sfm.predictors.predictor import load_predictor

CLASSICAL = PredictOptions(num_workers=1, matcher="sift")


def _errors(found, courtyard):
    """Distance of the centres over the distance to the middle of the scene, and degrees."""
    assert found.cam_from_world is not None, found.reason
    distance = np.linalg.norm(centres(found.cam_from_world) - centres(courtyard.pose))
    far = np.median(courtyard.scene.depths[0][courtyard.scene.depths[0] > 0])
    return distance / far, rotation_angle(found.cam_from_world[:, :3] @ courtyard.pose[:, :3].T)


@pytest.fixture(scope="module")
def opened(courtyard):
    """The map with its depth, by SIFT keypoints."""
    return make_map(courtyard.reference, courtyard.lift, load_predictor(CLASSICAL, 0), predict=CLASSICAL)


def test_a_photograph_is_localized_by_keypoints(opened, courtyard):
    found = localize_image(opened, courtyard.query.path, courtyard.camera)
    distance, angle = _errors(found, courtyard)
    assert distance < 0.003 and angle < 0.1
    assert found.confidence > 0.9 and found.covariance is not None and found.num_inliers > 50
    assert set(found.retrieved) <= set(courtyard.reference.names) and found.nearest is not None
    again = localize_image(opened, courtyard.query.path, courtyard.camera)
    assert np.abs(again.cam_from_world - found.cam_from_world).max() < 1e-6


def test_an_unknown_focal_length_is_found(opened, courtyard):
    for prior in (None, courtyard.query.focal_prior):
        query = Query(name="q", view=replace(courtyard.query, focal_prior=prior))
        (found,) = localize_queries(opened, [query])
        distance, angle = _errors(found, courtyard)
        assert distance < 0.02 and angle < 0.5
        assert abs(found.camera.params[0] / courtyard.camera.params[0] - 1) < 0.02


def test_a_camera_of_the_map_is_taken_where_it_fits(opened, courtyard, tmp_path):
    own = replace(opened, options=LocalizeOptions(map_cameras=False))
    query = Query(name="q", view=replace(courtyard.query, focal_prior=None))
    (found,), (anew,) = localize_queries(opened, [query]), localize_queries(own, [query])
    assert found.camera.params == courtyard.camera.params and anew.camera.params != courtyard.camera.params
    distance, angle = _errors(found, courtyard)
    assert distance < 0.003 and angle < 0.1
    from PIL import Image

    with Image.open(courtyard.query.path) as picture:
        width, height = picture.size
        box = (width // 8, height // 8, width - width // 8, height - height // 8)  # a focal length 4/3 as long
        picture.resize((width, height), Image.Resampling.LANCZOS, box).save(tmp_path / "zoom.png")
    zoom = localize_image(opened, tmp_path / "zoom.png")
    assert abs(zoom.camera.params[0] / courtyard.camera.params[0] / (4 / 3) - 1) < 0.02
    assert _errors(zoom, courtyard)[0] < 0.03


def test_another_place_is_refused_with_a_reason(opened, courtyard, tmp_path):
    """The mirrored photograph has everything of the place but its geometry, and SIFT does not match mirror images."""
    from PIL import Image, ImageOps

    with Image.open(courtyard.query.path) as picture:
        ImageOps.mirror(picture).save(tmp_path / "other.jpg", quality=95)
    found = localize_image(opened, tmp_path / "other.jpg")
    assert found.cam_from_world is None and found.confidence < 0.5
    assert "another place" in found.reason or "no pose agrees" in found.reason


def test_any_predictor_localizes_by_its_pointmaps(courtyard):
    options = LocalizeOptions(num_loc=3)
    opened = make_map(courtyard.reference, courtyard.lift, courtyard.oracle(), options, CLASSICAL)
    query = Query(name=courtyard.query.name, view=courtyard.query, camera=courtyard.camera)
    (found,) = localize_queries(opened, [query])
    distance, angle = _errors(found, courtyard)
    assert distance < 0.002 and angle < 0.05


def test_pointmaps_give_pose_and_focal_length_together(courtyard):
    options = LocalizeOptions(num_loc=3, focal_from="pointmaps")
    opened = make_map(courtyard.reference, courtyard.lift, courtyard.oracle(), options, CLASSICAL)
    query = Query(name=courtyard.query.name, view=replace(courtyard.query, focal_prior=None))
    (found,) = localize_queries(opened, [query])
    distance, angle = _errors(found, courtyard)
    assert distance < 0.01 and angle < 0.2
    assert abs(found.camera.params[0] / courtyard.camera.params[0] - 1) < 0.01


def test_posed_photographs_alone_are_a_map(courtyard, tmp_path):
    read = triangulated_depths(courtyard.reference, courtyard.oracle(), tmp_path)
    for index, name in enumerate(courtyard.reference.names):
        truth = courtyard.scene.depths[courtyard.scene.names.index(name)]
        depth = read(index).depth
        both = (depth > 0) & (truth > 0)
        assert both.mean() > 0.3 and np.median(np.abs(depth[both] / truth[both] - 1)) < 0.002
    again = triangulated_depths(courtyard.reference, courtyard.oracle(), tmp_path)
    assert np.array_equal(again(0).depth, read(0).depth)
    lift = DepthLift(courtyard.reference, read)
    opened = make_map(courtyard.reference, lift, load_predictor(CLASSICAL, 0), predict=CLASSICAL)
    distance, angle = _errors(localize_image(opened, courtyard.query.path, courtyard.camera), courtyard)
    assert distance < 0.005 and angle < 0.2


def test_the_command_writes_results_and_goes_on(map_folder, courtyard, tmp_path, capsys):
    numbers = " ".join(map(str, (*courtyard.camera.size, *courtyard.camera.params)))
    queries = tmp_path / "queries_with_intrinsics.txt"
    queries.write_text(f"{courtyard.query.name} {courtyard.camera.model} {numbers}\nlost.jpg\n")
    results = tmp_path / "results.txt"
    command = ["localize", str(map_folder), str(queries), str(results), "--num-loc", "3", "--num-workers", "1"]
    assert main(command) == 0
    assert "localized           1 of 2" in capsys.readouterr().out
    name, *values = results.read_text().split()
    assert name == courtyard.query.name and len(values) == 7
    content = json.loads(results.with_suffix(".json").read_text())["queries"]
    assert "no such file" in content["lost.jpg"]["reason"] and len(content[name]["retrieved"]) == 3
    found = np.array(content[name]["cam_from_world"])
    assert rotation_angle(found[:, :3] @ courtyard.pose[:, :3].T) < 0.3
    before = results.read_bytes()
    shutil.rmtree(map_folder / "sparse")  # what is finished needs no map
    command += ["--image-root", str(courtyard.images)]
    assert main(command) == 0
    assert results.read_bytes() == before
    command[5] = "2"
    assert main(command) == 1
    assert "num loc was 3, is now 2" in capsys.readouterr().err


def test_clusters_are_joined_by_points(map_folder, courtyard):
    reference = read_reference(read_model(map_folder), map_folder / "images")
    assert [len(group) for group in covisible_groups(reference, [3, 1, 0])] == [1, 1, 1]
    assert covisible_groups(courtyard.reference, [3, 1, 0]) == [[3, 1, 0]]
    opened = open_map(map_folder, LocalizeOptions(clustering=True), CLASSICAL)
    distance, angle = _errors(localize_image(opened, courtyard.query.path, courtyard.camera), courtyard)
    assert distance < 0.02 and angle < 0.5


def test_maps_that_cannot_be_used_are_refused(map_folder, courtyard, tmp_path):
    with pytest.raises(InputError, match="has no depth maps"):
        open_map(map_folder, LocalizeOptions(geometry="depth"), CLASSICAL)
    empty = tmp_path / "empty" / "sparse" / "0"
    empty.mkdir(parents=True)
    cameras = {view.name: view.known_camera for view in courtyard.reference.views}
    poses = dict(zip(courtyard.reference.names, courtyard.reference.cam_from_world, strict=True))
    model_of_poses(cameras, poses).write_binary(str(empty))
    with pytest.raises(InputError, match="are not beside it; give --image-root"):
        open_map(tmp_path / "empty", predict=CLASSICAL)
    with pytest.raises(InputError, match="has no points; use --geometry triangulate"):
        options = LocalizeOptions(geometry="points", image_root=courtyard.images)
        open_map(tmp_path / "empty", options, CLASSICAL)
    with pytest.raises(InputError, match="give --hloc-features and --hloc-matches together"):
        options = LocalizeOptions(hloc_features=tmp_path / "f.h5", image_root=courtyard.images)
        open_map(map_folder, options, CLASSICAL)


def test_a_map_whose_photographs_do_not_fit_is_refused(courtyard, tmp_path):
    cameras = {view.name: view.known_camera for view in courtyard.reference.views}
    poses = dict(zip(courtyard.reference.names, courtyard.reference.cam_from_world, strict=True))
    name = courtyard.reference.names[0]
    wrong = {**cameras, name: replace(cameras[name], size=(11, 22))}
    with pytest.raises(InputError, match=r"has 11 × 22 pixels but the file has"):
        read_reference(model_of_poses(wrong, poses), courtyard.images)
    more = {**poses, "gone.jpg": poses[name]}
    reference = read_reference(model_of_poses({**cameras, "gone.jpg": cameras[name]}, more), courtyard.images)
    assert reference.names == courtyard.reference.names and "gone.jpg" in reference.warnings[0]
    with pytest.raises(InputError, match=r"None of the map's 5 images"):
        read_reference(model_of_poses(cameras, poses), tmp_path)
    unsafe = {"../out.jpg": poses[name]}
    with pytest.raises(InputError, match="leads out"):
        read_reference(model_of_poses({"../out.jpg": cameras[name]}, unsafe), courtyard.images)


@pytest.mark.data
def test_the_kitchen_is_found_without_weights(data_root):
    from dust3r_sfm.evaluation.localization import compare_poses
    from dust3r_sfm.images.known_cameras import read_intrinsics
    from dust3r_sfm.images.known_poses import read_poses
    from dust3r_sfm.localization.depths import depth_files

    root = data_root / "7scenes_redkitchen"
    names = (root / "mapping.txt").read_text().split()[::2]
    queries = (root / "query.txt").read_text().split()[::4]
    poses, _ = read_poses(root / "poses.json", names)
    truth, _ = read_poses(root / "poses.json", queries)
    cameras, _ = read_intrinsics(str(root / "poses.json"), read_images(root, ImageOptions(), names=names).views)
    reference = read_reference(model_of_poses(cameras, poses), root)
    lift = DepthLift(reference, depth_files(reference, root / "depth_color", 0.001))
    opened = make_map(reference, lift, load_predictor(CLASSICAL, 0), LocalizeOptions(num_loc=5), CLASSICAL)
    views = read_images(root, ImageOptions(), names=queries).views
    camera = cameras[names[0]]
    found = localize_queries(opened, [Query(name=view.name, view=view, camera=camera) for view in views])
    errors = compare_poses({each.name: each.cam_from_world for each in found if each.cam_from_world is not None}, truth)
    assert errors.median_translation <= 0.05 and errors.median_rotation <= 1.5
    assert errors.recall[0.25, 5.0] >= 90
