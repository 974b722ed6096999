"""PLY, GLB, nerfstudio and hloc files, read back by the rules of the programs that load them."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.colmap.database import write_database
from dust3r_sfm.colmap.model import reconstruction_from_scene
from dust3r_sfm.dense.workspace import write_workspace
from dust3r_sfm.errors import InputError
from dust3r_sfm.formats.glb import write_glb
from dust3r_sfm.formats.hloc import write_hloc
from dust3r_sfm.formats.nerfstudio import write_nerfstudio
from dust3r_sfm.formats.ply import Cloud, cloud_of, read_ply, write_ply
from dust3r_sfm.images.masks import with_masks
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.tracks.keypoints import positions
from dust3r_sfm.types import Matches, Tracks


@pytest.fixture
def model(room: Any, room_tracks: Tracks) -> Any:
    return reconstruction_from_scene(room.scene, room_tracks)


def test_ply_round_trip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    xyz, normal = rng.normal(size=(2, 50, 3)).astype(np.float32)
    cloud = Cloud(xyz=xyz, normal=normal, rgb=rng.integers(0, 256, (50, 3), dtype=np.uint8))
    write_ply(tmp_path / "a.ply", cloud)
    again = read_ply(tmp_path / "a.ply")
    for name in ("xyz", "normal", "rgb"):
        assert np.array_equal(getattr(again, name), getattr(cloud, name))
    header = (tmp_path / "a.ply").read_bytes().split(b"end_header")[0].decode().splitlines()
    # The original splatting code reads these by name, normals included.
    assert [line.split()[-1] for line in header if line.startswith("property")] == [
        *("x", "y", "z", "nx", "ny", "nz", "red", "green", "blue")
    ]


def test_ply_of_other_programs(model: Any, tmp_path: Path) -> None:
    model.export_PLY(str(tmp_path / "colmap.ply"))
    cloud = read_ply(tmp_path / "colmap.ply")
    assert np.array_equal(np.sort(cloud.xyz, axis=0), np.sort(cloud_of(model).xyz, axis=0))
    assert np.all(cloud.normal == 0)


@pytest.mark.parametrize("data", [b"", b"ply\nformat ascii 1.0\nend_header\n", b"ply\nelement vertex 3\n"])
def test_a_broken_ply_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.ply").write_bytes(data)
    with pytest.raises(InputError, match=r"bad\.ply is not a binary PLY"):
        read_ply(tmp_path / "bad.ply")
    with pytest.raises(InputError, match=r"none\.ply"):
        read_ply(tmp_path / "none.ply")


def test_a_ply_that_is_cut_short_is_named(model: Any, tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", cloud_of(model))
    (tmp_path / "a.ply").write_bytes((tmp_path / "a.ply").read_bytes()[:-5])
    with pytest.raises(InputError, match=r"a\.ply"):
        read_ply(tmp_path / "a.ply")


def read_glb(path: Path) -> tuple[dict[str, Any], bytes]:
    """Chunks of a GLB file, with the lengths that glTF 2.0 prescribes."""
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    chunks, position = {}, 12
    while position < len(data):
        size, kind = struct.unpack_from("<I4s", data, position)
        assert size % 4 == 0
        chunks[kind] = data[position + 8 : position + 8 + size]
        position += 8 + size
    assert next(iter(chunks)) == b"JSON"
    return json.loads(chunks[b"JSON"]), chunks.get(b"BIN\0", b"")


def test_glb_holds_points_and_frusta(model: Any, tmp_path: Path) -> None:
    write_glb(tmp_path / "a.glb", model)
    document, data = read_glb(tmp_path / "a.glb")
    assert document["buffers"][0]["byteLength"] == len(data)

    def values(accessor: int) -> np.ndarray:
        entry = document["accessors"][accessor]
        view = document["bufferViews"][entry["bufferView"]]
        kind, width = {(5126, "VEC3"): ("<f4", 3), (5121, "VEC4"): ("u1", 4)}[entry["componentType"], entry["type"]]
        assert view["byteOffset"] % 4 == 0
        raw = data[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        return np.frombuffer(raw, kind).reshape(entry["count"], width)

    points, cameras = (mesh["primitives"][0] for mesh in document["meshes"])
    cloud = cloud_of(model)
    assert points["mode"] == 0
    assert np.array_equal(values(points["attributes"]["POSITION"]), cloud.xyz)
    assert np.array_equal(values(points["attributes"]["COLOR_0"])[:, :3], cloud.rgb)
    assert document["accessors"][points["attributes"]["POSITION"]]["max"] == cloud.xyz.max(axis=0).tolist()
    assert cameras["mode"] == 1
    ends = values(cameras["attributes"]["POSITION"]).reshape(6, 8, 2, 3)
    centres = np.array([image.projection_center() for image in model.images.values()])
    assert np.allclose(ends[:, :4, 0], centres[:, None], atol=1e-6)
    # y points up in glTF.
    assert document["nodes"][document["scenes"][0]["nodes"][0]]["matrix"][5] == -1


def test_a_glb_of_an_upright_model_stands_upright(model, tmp_path):
    write_glb(tmp_path / "a.glb", model, z_up=True)
    content = (tmp_path / "a.glb").read_bytes()
    document = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
    turn = np.array(document["nodes"][document["scenes"][0]["nodes"][0]]["matrix"]).reshape(4, 4).T
    assert (turn @ [0, 0, 1, 0]).tolist() == [0, 1, 0, 0] and np.linalg.det(turn) == 1


def test_glb_is_read_by_another_program(model: Any, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    write_glb(tmp_path / "a.glb", model)
    scene = trimesh.load(tmp_path / "a.glb")
    assert sorted(type(part).__name__ for part in scene.geometry.values()) == ["Path3D", "PointCloud"]


def test_glb_without_points(room: Any, tmp_path: Path) -> None:
    empty = Tracks(
        xyz=np.zeros((0, 3)),
        rgb=np.zeros((0, 3), np.uint8),
        track_of=np.zeros(0, np.int64),
        image_of=np.zeros(0, np.int64),
        xy=np.zeros((0, 2)),
    )
    write_glb(tmp_path / "a.glb", reconstruction_from_scene(room.scene, empty))
    assert [mesh["name"] for mesh in read_glb(tmp_path / "a.glb")[0]["meshes"]] == ["cameras"]
    write_glb(tmp_path / "b.glb", pycolmap.Reconstruction())
    assert "meshes" not in read_glb(tmp_path / "b.glb")[0]


def test_nerfstudio_projects_the_points_where_they_are(model: Any, photos: Path, tmp_path: Path) -> None:
    dense = write_workspace(tmp_path, model, photos)
    written = write_nerfstudio(dense, tmp_path / "nerfstudio")
    meta = json.loads(written.read_text())
    assert len(meta["frames"]) == 6
    assert "applied_transform" not in meta  # the points are in the world of the poses
    cloud = read_ply(written.parent / meta["ply_file_path"])
    assert len(cloud.xyz) == model.num_points3D()
    undistorted = pycolmap.Reconstruction(str(dense / "sparse"))
    eyes = np.array([frame["transform_matrix"] for frame in meta["frames"]])[:, :3, 3]
    in_cube = meta["scale"] * eyes + meta["offset"]
    assert 0.0 < in_cube.min() < in_cube.max() < 1.0  # instant-ngp's cube
    beyond = np.abs(meta["scale"] * cloud.xyz + meta["offset"] - 0.5).max(1) <= meta["aabb_scale"] / 2
    assert meta["aabb_scale"] in 2 ** np.arange(8) and beyond.mean() >= 0.95
    by_name = {image.name: image for image in undistorted.images.values()}
    for frame in meta["frames"]:
        image = by_name[frame["file_path"].removeprefix("images/")]
        with Image.open(written.parent / frame["file_path"]) as picture:
            assert picture.size == (frame["w"], frame["h"])
        assert "mask_path" not in frame
        seen = [point for point in image.points2D if point.has_point3D()]
        xyz = np.array([undistorted.points3D[point.point3D_id].xyz for point in seen])
        opengl = np.linalg.inv(np.array(frame["transform_matrix"])) @ np.column_stack([xyz, np.ones(len(xyz))]).T
        x, y, z, _ = opengl
        assert z.max() < 0  # the camera looks along -z
        projected = np.column_stack([frame["fl_x"] * x / -z + frame["cx"], frame["fl_y"] * -y / -z + frame["cy"]])
        assert np.median(np.linalg.norm(projected - positions(seen), axis=1)) < 0.1


def test_nerfstudio_masks_are_for_all_or_none(room: Any, model: Any, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    Image.new("L", (640, 480), 0).save(tmp_path / "masks" / "image 0.jpg.png")
    dense = write_workspace(tmp_path, model, photos, with_masks(room.scene, tmp_path / "masks").views)
    written = write_nerfstudio(dense, tmp_path / "nerfstudio")
    frames = json.loads(written.read_text())["frames"]
    levels = {frame["mask_path"]: np.asarray(Image.open(written.parent / frame["mask_path"])) for frame in frames}
    assert [level.max() for level in levels.values()] == [0, *[255] * 5]
    assert [level.min() for level in levels.values()] == [0, *[255] * 5]


@pytest.fixture
def hloc_room(make_room: Callable[..., Any]) -> tuple[Any, list[Matches]]:
    room = make_room([((640, 480), 1)] * 3, names=["db/a.jpg", "db/b.jpg", "c.jpg"])
    matches = room.matches()
    return reconstruction_from_scene(room.scene, room.tracks(matches), matches), matches


def test_hloc_files_fit_the_model(hloc_room: tuple[Any, list[Matches]], tmp_path: Path) -> None:
    model, matches = hloc_room
    write_database(tmp_path / "database.db", model, matches)
    write_hloc(tmp_path / "hloc", model, tmp_path / "database.db")
    pairs = [line.split(" ") for line in (tmp_path / "hloc" / "pairs.txt").read_text().splitlines()]
    assert len(pairs) == 3
    by_name = {image.name: image for image in model.images.values()}
    with h5py.File(tmp_path / "hloc" / "features.h5") as features, h5py.File(tmp_path / "hloc" / "matches.h5") as h5:
        for name, image in by_name.items():
            keypoints = features[name]["keypoints"][()]
            assert keypoints.dtype == np.float32  # half precision moves keypoints by pixels
            assert np.abs(keypoints + 0.5 - positions(image.points2D)).max() < 1e-3
            assert features[name]["image_size"][()].tolist() == [640, 480]
        for name0, name1 in pairs:
            group = h5[name0.replace("/", "-")][name1.replace("/", "-")]
            matches0 = group["matches0"][()]
            assert len(matches0) == len(by_name[name0].points2D) == len(group["matching_scores0"])
            rows = np.flatnonzero(matches0 >= 0)
            assert len(rows) > 50
            # Matched keypoints that have points have the same one.
            ids = [
                (by_name[name0].points2D[int(row)].point3D_id, by_name[name1].points2D[int(matches0[row])].point3D_id)
                for row in rows
            ]
            same = [id0 == id1 for id0, id1 in ids if 2**64 - 1 not in (id0, id1)]
            assert np.mean(same) > 0.99


def test_hloc_refuses_names_it_cannot_hold(model: Any, room_matches: list[Matches], tmp_path: Path) -> None:
    write_database(tmp_path / "database.db", model, room_matches)
    with pytest.raises(InputError, match=r"'image 0\.jpg' holds a blank"):
        write_hloc(tmp_path / "hloc", model, tmp_path / "database.db")


def test_hloc_refuses_pairs_of_one_name(make_room: Callable[..., Any], tmp_path: Path) -> None:
    room = make_room([((640, 480), 1)] * 3, names=["a-b.jpg", "a/b.jpg", "c.jpg"])
    matches = room.matches()
    model = reconstruction_from_scene(room.scene, room.tracks(matches), matches)
    write_database(tmp_path / "database.db", model, matches)
    with pytest.raises(InputError, match="one name in hloc"):
        write_hloc(tmp_path / "hloc", model, tmp_path / "database.db")
    with pytest.raises(InputError, match=r"none\.db is missing"):
        write_hloc(tmp_path / "hloc", model, tmp_path / "none.db")
