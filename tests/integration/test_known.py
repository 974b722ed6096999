"""Known cameras through the whole chain: they come out as they went in, in the same frame and scale."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dust3r_sfm.errors import InputError
from dust3r_sfm.evaluation.poses import evaluate_poses
from dust3r_sfm.geometry.transforms import centres
from dust3r_sfm.options import KnownOptions, PredictOptions, ReconstructOptions, RefineOptions
from dust3r_sfm.reconstruct import reconstruct
from dust3r_sfm.system._pycolmap import pycolmap


def options(sample_folder, **known) -> ReconstructOptions:
    predict = PredictOptions(predictor="oracle", weights=str(sample_folder / "truth" / "scene.h5"))
    return ReconstructOptions(predict=predict, known=KnownOptions(**known), refine=RefineOptions(refine="none"))


def images_of(out) -> dict:
    reconstruction = pycolmap.Reconstruction(str(out / "sparse" / "0"))
    return {image.name: (image, reconstruction.cameras[image.camera_id]) for image in reconstruction.images.values()}


def true_pose(entry) -> np.ndarray:
    rotation = Rotation.from_quat(entry["qvec_cam_from_world"], scalar_first=True).as_matrix()
    return np.column_stack([rotation, entry["tvec"]])


@pytest.fixture(scope="module")
def reference(sample_folder):
    return json.loads((sample_folder / "truth" / "poses.json").read_text())


@pytest.mark.parametrize("num_posed", [6, 3])
def test_cameras_and_poses_are_kept(sample_folder, reference, tmp_path, num_posed):
    """All photographs or some: what is given is exact, the rest is found in its frame and scale."""
    path = sample_folder / "truth" / "poses.json"
    posed = dict(sorted(reference.items())[:num_posed])
    (tmp_path / "some.json").write_text(json.dumps(posed))
    known = {"intrinsics": str(path), "poses": tmp_path / "some.json"}
    reconstruct(sample_folder / "images", tmp_path / "out", options(sample_folder, **known))
    found = images_of(tmp_path / "out")
    assert set(found) == set(reference)
    extent = np.ptp(centres(np.array([true_pose(entry) for entry in reference.values()])), axis=0).max()
    for name, (image, camera) in found.items():
        assert camera.model.name == "PINHOLE" and list(camera.params) == reference[name]["camera"]["params"]
        pose, expected = image.cam_from_world().matrix(), true_pose(reference[name])
        tolerance = 1e-12 if name in posed else 5e-3
        np.testing.assert_allclose(pose[:, :3], expected[:, :3], atol=tolerance)
        np.testing.assert_allclose(centres(pose), centres(expected), atol=max(extent, 10) * tolerance)


def test_known_intrinsics_and_one_distance(sample_folder, reference, tmp_path):
    """Without poses the frame is the model's own; the distance sets its scale."""
    path = sample_folder / "truth" / "poses.json"
    first, second = sorted(reference)[:2]
    pair = centres(np.array([true_pose(reference[name]) for name in (first, second)]))
    distance = float(np.linalg.norm(pair[1] - pair[0]))
    known = {"intrinsics": str(path), "scale_distance": (first, second, distance)}
    reconstruct(sample_folder / "images", tmp_path / "out", options(sample_folder, **known))
    found = images_of(tmp_path / "out")
    for name, (_, camera) in found.items():
        assert list(camera.params) == reference[name]["camera"]["params"]
    pair = centres(np.array([found[name][0].cam_from_world().matrix() for name in (first, second)]))
    assert np.linalg.norm(pair[1] - pair[0]) == pytest.approx(distance, rel=1e-3)
    assert evaluate_poses(tmp_path / "out", path).ate < 1e-3


def test_cameras_of_other_sizes_end_in_a_sentence(sample_folder, tmp_path):
    with pytest.raises(InputError, match="but the file has"):
        reconstruct(
            sample_folder / "images",
            tmp_path / "out",
            options(sample_folder, intrinsics="SIMPLE_PINHOLE,99,98,50,49,48"),
        )
