"""Five sets of depth in miniature, each in the layout it is published in, from files to table."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csr_matrix, save_npz

from dust3r_sfm.geometry.pinhole import intrinsics
from dust3r_sfm.images.resize import Grid
from dust3r_sfm.scene_file import write_scene
from dust3r_sfm.synthetic.render import render, render_depth
from dust3r_sfm.synthetic.sample import true_scene
from dust3r_sfm.synthetic.shots import Shot, plan_shots
from pipelines.__main__ import main
from pipelines.mono_depth.rules import crop

SMALL, VGA = (192, 128), (640, 480)


class Miniature:
    """Photographs of the courtyard with their depth, written as a set has them, and the scene the oracle knows."""

    def __init__(self, root: Path, world, size: tuple[int, int], num: int) -> None:
        self.root, self._world, self._size = root, world, size
        matrix = intrinsics(0.9 * size[0], size)
        poses = [shot.cam_from_world for shot in plan_shots(num, size, np.random.default_rng(5))]
        self.pictures = [render(world, pose, matrix, size, samples=1) for pose in poses]
        self.depths = [render_depth(world, pose, matrix, size) for pose in poses]
        self._cameras = [(matrix, pose) for pose in poses]

    def know(self, names: list[str]) -> None:
        shots = [
            Shot(name=name, size=self._size, orientation=1, intrinsics=matrix, cam_from_world=pose)
            for name, (matrix, pose) in zip(names, self._cameras, strict=True)
        ]
        scene = true_scene(self._world, shots, self.root, Grid(size=max(self._size)))
        write_scene(self.root / "scene.h5", scene)

    def save(self, names: list[str]) -> None:
        for name, picture in zip(names, self.pictures, strict=True):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(self.root / name)
        self.know(names)

    def save_steps(self, names: list[str], unit: float) -> None:
        for name, depth in zip(names, self.depths, strict=True):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.rint(depth / unit).astype(np.uint16)).save(self.root / name)


@pytest.fixture(scope="module")
def small(world):
    return Miniature(Path(), world, SMALL, 2)


def _of(small: Miniature, root: Path) -> Miniature:
    small.root = root
    return small


def nyu_mat(world, root: Path) -> None:
    mini = Miniature(root, world, VGA, 1)
    (root / "nyu").mkdir()
    with h5py.File(root / "nyu" / "nyu_depth_v2_labeled.mat", "w") as file:
        images = np.zeros((3, 3, 640, 480), np.uint8)
        images[1] = mini.pictures[0].transpose(2, 1, 0)
        file["images"] = images
        depths = np.zeros((3, 640, 480), np.float32)
        depths[1] = mini.depths[0].T
        file["depths"] = depths
    savemat(root / "nyu" / "splits.mat", {"testNdxs": np.array([[2]]), "trainNdxs": np.array([[1], [3]])})
    mini.know(["0002.png"])


def nyu_h5(small: Miniature) -> None:
    folder = small.root / "nyu" / "val" / "official"
    folder.mkdir(parents=True)
    for name, picture, depth in zip(("00001", "00002"), small.pictures, small.depths, strict=True):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["rgb"], file["depth"] = picture.transpose(2, 0, 1), depth
    small.know(["00001.png", "00002.png"])


def kitti_raw(small: Miniature) -> None:
    drive, numbers = "2011_09_26_drive_0002_sync", (5, 6)
    small.save([f"kitti/2011_09_26/{drive}/image_02/data/{number:010d}.png" for number in numbers])
    truths = [f"kitti/val/{drive}/proj_depth/groundtruth/image_02/{number:010d}.png" for number in numbers]
    small.save_steps(truths, 1 / 256)
    (small.root / "kitti" / "eigen_test_files.txt").write_text(
        f"2011_09_26/{drive} 0000000005 l\n2011_09_26/{drive}/image_02/data/0000000006.png x.png 721.5\n"
    )


def bonn_raw(small: Miniature) -> None:
    """Frames 30 and 31 of one of MonST3R's five sequences."""
    folder = "bonn/rgbd_bonn_dataset/rgbd_bonn_crowd2"
    stamps = [f"15483{index:05d}.5" for index in range(32)]
    for kind in ("rgb", "depth"):
        (small.root / folder / kind).mkdir(parents=True)
        for stamp in stamps[:30]:
            Image.new("L", (8, 8)).save(small.root / folder / kind / f"{stamp}.png")
    small.save([f"{folder}/rgb/{stamp}.png" for stamp in stamps[30:]])
    small.save_steps([f"{folder}/depth/{stamp}.png" for stamp in stamps[30:]], 1 / 5000)


def tum_raw(small: Miniature) -> None:
    """The second picture has two depth maps within 0.02 s, and the nearest is its own; a third has none."""
    folder = small.root / "tum" / "rgbd_dataset_freiburg3_walking_xyz"
    names = [f"tum/{folder.name}/rgb/{stamp}.png" for stamp in ("10.0", "10.1")]
    small.save(names)
    small.save_steps([f"tum/{folder.name}/depth/{stamp}.png" for stamp in ("10.015", "10.102")], 1 / 5000)
    (folder / "rgb.txt").write_text("# color images\n10.0 rgb/10.0.png\n10.1 rgb/10.1.png\n11.0 rgb/11.0.png\n")
    (folder / "depth.txt").write_text(
        "# depth\n10.015 depth/10.015.png\n10.102 depth/10.102.png\n10.118 depth/no.png\n"
    )


def ddad_archive(small: Miniature) -> None:
    small.save([f"ddad/testing/color/{number:06d}.jpg" for number in range(2)])
    (small.root / "ddad" / "testing" / "depth").mkdir()
    for number, depth in enumerate(small.depths):
        sparse = np.where(np.random.default_rng(number).uniform(size=depth.shape) < 0.1, depth, 0)
        save_npz(small.root / "ddad" / "testing" / "depth" / f"{number:06d}.npz", csr_matrix(sparse))


def kitti_archive(small: Miniature) -> None:
    small.save([f"kitti/testing/color/{number:06d}.png" for number in range(2)])
    (small.root / "kitti" / "testing" / "depth").mkdir()
    for number, depth in enumerate(small.depths):
        np.save(small.root / "kitti" / "testing" / "depth" / f"{number:06d}.npy", depth)


def _arguments(root: Path, out: Path, *more: str) -> list[str]:
    oracle = ["--predictor", "oracle", "--weights", str(root / "scene.h5"), "--num-workers", "1"]
    return ["mono-depth", str(root), str(out), *oracle, *more]


def _results(out: Path) -> dict:
    return json.loads((out / "results.json").read_text())


@pytest.mark.parametrize(
    ("make", "lineages"),
    [
        (nyu_h5, ("monst3r",)),
        (kitti_raw, ("sc-depth", "monst3r")),
        (bonn_raw, ("monst3r",)),
        (tum_raw, ("sc-depth",)),
        (ddad_archive, ("sc-depth",)),
        (kitti_archive, ("sc-depth",)),
    ],
)
def test_the_oracle_has_no_error_on_any_set(small, tmp_path, make, lineages):
    make(_of(small, tmp_path / "data"))
    name = make.__name__.partition("_")[0]
    for lineage in lineages:
        out = tmp_path / lineage
        assert main(_arguments(tmp_path / "data", out, "--sets", name, "--lineage", lineage)) == 0
        result = _results(out)
        assert result["groups"][name]["images"] == 2
        steps = 0.0 if make in (nyu_h5, ddad_archive, kitti_archive) else 0.2  # percent: depth is stored in steps
        assert result["measured"][f"{name} AbsRel"] <= steps + 1e-4
        assert result["measured"][f"{name} δ1.25"] == 100


def test_the_matlab_file_of_nyu(world, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    nyu_mat(world, tmp_path / "data")
    assert main(_arguments(tmp_path / "data", tmp_path / "out", "--sets", "nyu")) == 0
    result = _results(tmp_path / "out")
    assert result["measured"]["nyu AbsRel"] < 1e-4 and result["measured"]["nyu δ1.25"] == 100
    assert result["groups"]["nyu"]["pixels"] <= 426 * 560 and result["missing"]["nyu"] == "1 of 654 images"
    shown = capsys.readouterr().out
    assert "DUSt3R 512 | 6.5 | 94.09" in shown and "**Partial**" in shown


def test_garg_and_eigen_crop_what_their_papers_say():
    kitti = np.argwhere(crop("sc-depth", "kitti", (375, 1242)))
    assert (kitti.min(0).tolist(), kitti.max(0).tolist()) == ([153, 44], [370, 1196])
    nyu = np.argwhere(crop("sc-depth", "nyu", (480, 640)))
    assert (nyu.min(0).tolist(), nyu.max(0).tolist()) == ([45, 41], [470, 600])
    assert crop("monst3r", "nyu", (480, 640)).all() and crop("sc-depth", "bonn", (480, 640)).all()


def test_half_of_the_sets_are_listed_and_the_rest_judged(small, tmp_path, capsys):
    root = tmp_path / "data"
    kitti_archive(_of(small, root))
    arguments = _arguments(root, tmp_path / "out", "--limit", "1")
    assert main(arguments) == 0
    result = _results(tmp_path / "out")
    assert result["partial"] and set(result["groups"]) == {"kitti"} and result["groups"]["kitti"]["images"] == 1
    assert {"ddad", "bonn", "nyu", "tum", "--limit"} < set(result["missing"])
    np.save(root / "kitti" / "testing" / "depth" / "000001.npy", np.zeros(SMALL[::-1], np.float32))
    assert main(_arguments(root, tmp_path / "out")) == 0  # goes on with the second, which has no truth
    result = _results(tmp_path / "out")
    assert result["groups"]["kitti"]["images"] == 1 and "kitti, depth" in result["missing"]
    assert "no true depth" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "more", "sentence"),
    [
        (lambda root: shutil.rmtree(root / "kitti"), [], "holds no set that can be judged"),
        (
            lambda root: (root / "kitti/testing/depth/000001.npy").unlink(),
            [],
            "2 pictures in color and 1 maps in depth",
        ),
        (lambda root: (root / "kitti/testing/depth/000001.npy").write_text("no"), [], "000001.npy"),
        (lambda root: None, ["--sets", "nyuv3"], "no set nyuv3"),
        (lambda root: None, ["--sets", "tum", "--lineage", "monst3r"], "no rules"),
    ],
)
def test_what_cannot_be_judged_is_one_sentence(small, tmp_path, capsys, damage, more, sentence):
    root = tmp_path / "data"
    kitti_archive(_of(small, root))
    damage(root)
    assert main(_arguments(root, tmp_path / "out", *more)) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in error and error.startswith("pipelines: ") and error.endswith(".")


def test_a_predictor_of_pairs_alone_is_refused(small, tmp_path, capsys):
    kitti_archive(_of(small, tmp_path))
    assert main(["mono-depth", str(tmp_path), str(tmp_path / "out")]) == 1
    assert "one alone needs a network" in capsys.readouterr().err


def test_a_network_is_judged_on_all_pixels_of_the_truth(small, small_weights, tmp_path):
    """Its square grid cuts the sides, whose pixels count all the same."""
    kitti_archive(_of(small, tmp_path / "data"))
    network = ["--predictor", "dust3r-224-linear", "--weights", str(small_weights), "--device", "cpu"]
    assert main(["mono-depth", str(tmp_path / "data"), str(tmp_path / "out"), *network, "--sets", "kitti"]) == 0
    result = _results(tmp_path / "out")
    assert result["groups"]["kitti"]["images"] == 2 and result["measured"]["kitti AbsRel"] > 1
    counted = sum(int(((depth > 0.1) & crop("sc-depth", "kitti", depth.shape)).sum()) for depth in small.depths)
    assert result["groups"]["kitti"]["pixels"] == counted
