"""Cambridge Landmarks in miniature: both layouts from files to table, and what is said of incomplete ones."""

import json
import shutil

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dust3r_sfm.geometry.transforms import centres
from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.localization.reference import model_of_poses
from dust3r_sfm.types import KnownCamera
from pipelines.__main__ import main
from pipelines.cambridge.dataset import read_scene
from pipelines.cambridge.nvm import nvm_camera
from pipelines.seven_scenes.registration import COLOUR

from .conftest import MAPPING, QUERIES, add_points, observe

NAMES = {index: f"seq1/frame{index:05d}.png" for index in MAPPING} | {
    index: f"seq2/frame{index:05d}.png" for index in QUERIES
}
HEADER = "Visual Landmark Dataset V1\nImageFile, Camera Position [X Y Z W P Q R]\n\n"
NO_CAMERA = "NVM_V3\n\n1\nother.jpg 1 1 0 0 0 0 0 0 0 0\n\n0\n"
ARGUMENTS = ["Cambridge", "--scenes", "ShopFacade", "--num-workers", "1"]


def _numbers(values):
    return " ".join(f"{value:.12g}" for value in values)


@pytest.fixture(scope="module")
def raw(rendered, tmp_path_factory):
    """As published: dataset_train.txt, dataset_test.txt, reconstruction.nvm with names of JPEG files."""
    dataset = tmp_path_factory.mktemp("raw")
    scene = dataset / "ShopFacade"
    rendered.write(scene, NAMES)
    quaternions = Rotation.from_matrix(rendered.cam_from_world[:, :, :3]).as_quat(scalar_first=True)
    middles = centres(rendered.cam_from_world)
    for part, chosen in (("train", MAPPING), ("test", QUERIES)):
        lines = [f"{NAMES[index]} {_numbers((*middles[index], *quaternions[index]))}\n" for index in chosen]
        lines.append(f"seq9/frame00001.png {_numbers((1e5, 0, 0, 1, 0, 0, 0))}\n")  # the data set has such mistakes
        (scene / f"dataset_{part}.txt").write_text(HEADER + "".join(lines))
    tracks, points2d = observe(rendered, NAMES)
    order = {index: place for place, index in enumerate(NAMES)}
    cameras = [
        f"{name.replace('.png', '.jpg')}\t525 {_numbers((*quaternions[index], *middles[index]))} 0 0\n"
        for index, name in NAMES.items()
    ]
    points = [
        f"{_numbers(point)} 9 8 7 {len(track)} "
        + " ".join(f"{order[index]} {row} {_numbers(points2d[index][row] - (320, 240))}" for index, row in track)
        for point, track in tracks
    ]
    text = f"NVM_V3 \n\n{len(cameras)}\n{''.join(cameras)}\n{len(points)}\n" + "\n".join(points) + "\n\n0\n"
    (scene / "reconstruction.nvm").write_text(text)
    return dataset


@pytest.fixture(scope="module")
def hloc(rendered, tmp_path_factory):
    """As hloc has it: a model of the training images and one of all, made of pictures 1024 pixels wide."""
    dataset = tmp_path_factory.mktemp("hloc")
    rendered.write(dataset / "ShopFacade", NAMES)
    folder = dataset / "CambridgeLandmarks_Colmap_Retriangulated_1024px" / "ShopFacade"
    camera = KnownCamera(model="SIMPLE_RADIAL", size=(1024, 768), params=(840.0, 512.0, 384.0, 0.0))
    poses = {name: rendered.cam_from_world[index] for index, name in NAMES.items()}
    train = {index: NAMES[index] for index in MAPPING}
    mapped = model_of_poses(dict.fromkeys(train.values(), camera), {name: poses[name] for name in train.values()})
    add_points(mapped, rendered, train)
    for image in mapped.images.values():
        for point in image.points2D:
            point.xy = point.xy * 1.6
    (folder / "model_train").mkdir(parents=True)
    mapped.write_binary(str(folder / "model_train"))
    (folder / "empty_all").mkdir()
    model_of_poses(dict.fromkeys(poses, camera), poses).write_text(str(folder / "empty_all"))
    (folder / "list_query.txt").write_text("\n".join(NAMES[index] for index in QUERIES) + "\n")
    return dataset


@pytest.mark.parametrize("layout", ["raw", "hloc"])
def test_from_files_to_table(layout, tmp_path, capsys, request):
    dataset = request.getfixturevalue(layout)
    assert main([*ARGUMENTS, "--dataset", str(dataset), "--outputs", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "9/0.38" in shown and "64/0.97" in shown and "4/0.19" in shown and "GreatCourt" not in shown
    measured = json.loads((tmp_path / "results.json").read_text())["measured"]["ShopFacade"]
    assert measured["median_translation"] < 0.02 and measured["median_rotation_deg"] < 0.15
    assert measured["recall@0.05,5deg"] == 100
    (line,) = (tmp_path / "ShopFacade" / "results.txt").read_text().splitlines()
    assert line.split()[0] == NAMES[2]
    listed = (tmp_path / "ShopFacade" / "query_list_with_intrinsics.txt").read_text().split()
    assert listed[2:5] == ["640", "480", "525.0"]
    pairs = (tmp_path / "ShopFacade" / "pairs-db-covis20.txt").read_text()
    assert NAMES[0] in pairs and NAMES[2] not in pairs


@pytest.mark.parametrize("layout", ["raw", "hloc"])
def test_points_fall_on_their_observations(layout, request):
    scene = read_scene(request.getfixturevalue(layout), "ShopFacade")
    assert scene.model.num_points3D() > 1000
    assert {image.name for image in scene.model.images.values()} == {NAMES[index] for index in MAPPING}
    for image in scene.model.images.values():
        assert image.points2D
        for point in image.get_observation_points2D()[::50]:
            error = image.project_point(scene.model.point3D(point.point3D_id).xyz) - point.xy
            assert np.linalg.norm(error) < 0.01


def test_the_camera_of_visualsfm_undistorts_as_visualsfm_does():
    camera = colmap_camera(nvm_camera(900.0, 0.05, (960, 540)))
    xy = np.array([[480.0, 270.0], [100.0, 30.0], [940.0, 500.0]])
    measured = (xy - (480, 270)) / 900
    undistorted = measured * (1 + 0.05 * (measured**2).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(camera.cam_from_img(xy), undistorted, atol=1e-4)
    assert nvm_camera(COLOUR.params[0], 0.0, COLOUR.size).params[:3] == (525, 320, 240)


def _cut(path, start):
    path.write_text(path.read_text()[:start])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (shutil.rmtree, "no scene ShopFacade"),
        (lambda scene: (scene / "dataset_test.txt").unlink(), "dataset_test.txt is missing"),
        (lambda scene: _cut(scene / "dataset_test.txt", len(HEADER)), "lists no image"),
        (lambda scene: _cut(scene / "dataset_train.txt", 160), "dataset_train.txt, line 4"),
        (lambda scene: (scene / "seq1" / "frame00003.png").unlink(), "frame00003.png for one"),
        (lambda scene: (scene / "reconstruction.nvm").unlink(), "reconstruction.nvm is missing"),
        (lambda scene: _cut(scene / "reconstruction.nvm", -2000), "not a whole NVM_V3 file"),
        (lambda scene: _cut(scene / "reconstruction.nvm", 300), "not a whole NVM_V3 file"),
        (lambda scene: (scene / "reconstruction.nvm").write_text(NO_CAMERA), "no camera of"),
        (lambda scene: (scene / "seq2" / "frame00002.png").write_text("no"), "frame00002.png is not a photograph"),
    ],
)
def test_an_incomplete_scene_is_one_sentence(raw, tmp_path, capsys, damage, sentence):
    shutil.copytree(raw, tmp_path / "data")
    damage(tmp_path / "data" / "ShopFacade")
    assert main([*ARGUMENTS, "--dataset", str(tmp_path / "data"), "--outputs", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in error and error.startswith("pipelines: ") and error.endswith(".")


def test_an_incomplete_archive_of_hloc_is_one_sentence(hloc, tmp_path, capsys):
    shutil.copytree(hloc, tmp_path / "data")
    arguments = [*ARGUMENTS, "--dataset", str(tmp_path / "data"), "--outputs", str(tmp_path / "out")]
    folder = tmp_path / "data" / "CambridgeLandmarks_Colmap_Retriangulated_1024px" / "ShopFacade"
    (folder / "list_query.txt").write_text("seq2/frame00002.pmg\n")
    assert main(arguments) == 1
    assert "list_query.txt, line 1" in capsys.readouterr().err
    shutil.rmtree(folder / "model_train")
    assert main(arguments) == 1
    assert "model_train holds no COLMAP model" in capsys.readouterr().err
