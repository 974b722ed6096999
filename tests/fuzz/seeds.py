"""Whole files of every kind that the package reads, a folder a kind."""

import json
from pathlib import Path

import h5py
import numpy as np
from PIL import ExifTags, Image

from dust3r_sfm.formats.ply import Cloud, write_ply
from dust3r_sfm.geometry.transforms import invert, rotation_exp
from dust3r_sfm.predictors.store import PredictionWriter, StoreHeader
from dust3r_sfm.runs.record import Photographs, RunRecord, StageRecord
from dust3r_sfm.scene_file import write_scene
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import KnownCamera, PairPrediction, Scene, View

NAMES = ("a.jpg", "b.jpg", "d.jpg", "sub/c.jpg")
SIZE = (64, 48)
_FOCAL = 60.0
_RNG = np.random.default_rng(0)
POSES = np.concatenate([rotation_exp(_RNG.normal(size=(4, 3))), _RNG.normal(size=(4, 3, 1))], axis=2)
_WORLD_FROM_CAM = invert(POSES)
_OPENGL = np.diag([1.0, -1.0, -1.0])


def write_seeds(folder: Path) -> None:
    """Write all kinds."""
    for name, write in _WRITERS.items():
        (folder / name).mkdir(parents=True)
        write(folder / name)


def write_photographs(folder: Path) -> None:
    """Photographs with EXIF and XMP, and one of each other format."""
    (folder / "sub").mkdir()
    for index, name in enumerate(NAMES):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = (1, 6, 3, 1)[index]
        exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Maker", "Model"
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 28
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(
            {1: "N", 2: (48.0, 8.0, 1.5 + index), 3: "E", 4: (11.0, 34.0, 2.0), 5: b"\0", 6: 500.0}
        )
        xmp = (
            b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            b'<rdf:Description xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/" drone-dji:GimbalPitchDegree="-30.0" '
            b'drone-dji:GimbalRollDegree="0.0" drone-dji:RelativeAltitude="+50.0"/></rdf:RDF></x:xmpmeta>'
        )
        _picture(index).save(folder / name, quality=60, exif=exif, xmp=xmp)
    for suffix, mode in (("png", "RGBA"), ("tif", "RGB"), ("webp", "RGB"), ("bmp", "RGB")):
        _picture(9).convert(mode).save(folder / f"z.{suffix}")


def _picture(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC)


def _photographs(folder: Path) -> None:
    write_photographs(folder)


def _masks(folder: Path) -> None:
    for index, name in enumerate(NAMES):
        (folder / name).parent.mkdir(exist_ok=True)
        _picture(index).convert("L").save(folder / f"{name}.png")


def _model() -> pycolmap.Reconstruction:
    model = pycolmap.Reconstruction()
    camera = pycolmap.Camera(model="RADIAL", width=SIZE[0], height=SIZE[1], params=[_FOCAL, 32, 24, 0.01, 0.0])
    camera.camera_id = 1
    model.add_camera_with_trivial_rig(camera)
    xyz = np.random.default_rng(0).uniform(-1, 1, (12, 3))
    for index, name in enumerate(NAMES, start=1):
        image = pycolmap.Image(name, np.random.default_rng(index).uniform(0, 48, (12, 2)), 1, index)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(POSES[index - 1]))
    for row, point in enumerate(xyz):
        track = pycolmap.Track([pycolmap.TrackElement(index, row) for index in range(1, 5)])
        model.add_point3D(point, track, np.array([200, 100, 50], np.uint8))
    return model


def _transforms(folder: Path) -> None:
    frames = [
        {
            "file_path": name,
            "transform_matrix": [*np.column_stack([pose[:, :3] @ _OPENGL, pose[:, 3]]).tolist(), [0, 0, 0, 1]],
        }
        for name, pose in zip(NAMES, _WORLD_FROM_CAM, strict=True)
    ]
    camera = {"w": 64, "h": 48, "fl_x": _FOCAL, "fl_y": 61.0, "cx": 32.0, "cy": 24.0, "k1": 0.01, "p1": 0.001}
    (folder / "transforms.json").write_text(json.dumps(camera | {"frames": frames}))


def _poses(folder: Path) -> None:
    camera = {"model": "SIMPLE_RADIAL", "width": 64, "height": 48, "params": [_FOCAL, 32.0, 24.0, 0.01]}
    images = {
        name: {
            "qvec_cam_from_world": _quaternion(pose).tolist(),
            "tvec": pose[:, 3].tolist(),
            "camera": camera,
        }
        for name, pose in zip(NAMES, POSES, strict=True)
    }
    (folder / "poses.json").write_text(json.dumps(images))


def _quaternion(pose: np.ndarray) -> np.ndarray:
    """As w, x, y, z."""
    return pycolmap.Rotation3d(pose[:, :3]).quat[[3, 0, 1, 2]]


def _numbers(values: np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in np.ravel(values))


def _bundle(folder: Path) -> None:
    blocks = []
    for pose in POSES:
        turned = _OPENGL @ pose
        blocks += [f"{_FOCAL} 0.01 0.0", *(_numbers(row) for row in turned[:, :3]), _numbers(turned[:, 3])]
    (folder / "bundle.out").write_text("\n".join(["# Bundle file v0.3", "4 0", *blocks, ""]))
    (folder / "list.txt").write_text("".join(f"{name}\n" for name in NAMES))


def _nvm(folder: Path) -> None:
    rows = [
        f"{name} {_FOCAL} {_numbers(_quaternion(pose))} {_numbers(place[:, 3])} 0.01 0"
        for name, pose, place in zip(NAMES, POSES, _WORLD_FROM_CAM, strict=True)
    ]
    points = ["2", "0 0 5 10 20 30 2 0 0 1.5 2.5 1 0 -3.5 4.5", "1 0 5 10 20 30 2 1 1 1.5 2.5 2 1 -3.5 4.5"]
    (folder / "model.nvm").write_text("\n".join(["NVM_V3", "", "4", *rows, "", *points, "0", ""]))


def _metashape(folder: Path) -> None:
    cameras = "\n".join(
        f'<camera id="{index}" sensor_id="0" label="{name}"><transform>{_numbers(pose)} 0 0 0 1</transform></camera>'
        for index, (name, pose) in enumerate(zip(NAMES, _WORLD_FROM_CAM, strict=True))
    )
    (folder / "cameras.xml").write_text(
        '<document version="2.0.0"><chunk label="1"><sensors>\n<sensor id="0" type="frame"><resolution width="64" '
        f'height="48"/>\n<calibration type="frame" class="adjusted"><resolution width="64" height="48"/><f>{_FOCAL}</f>'
        f"\n<cx>0.5</cx><cy>-0.5</cy><k1>0.01</k1></calibration></sensor></sensors><cameras>\n{cameras}\n</cameras>"
        "\n</chunk></document>"
    )


def _polycam(folder: Path) -> None:
    for name, pose in zip(NAMES, _WORLD_FROM_CAM, strict=True):
        turned = np.column_stack([pose[:, :3] @ _OPENGL, pose[:, 3]])
        entries = {f"t_{row}{column}": turned[row, column] for row in range(3) for column in range(4)}
        camera = {"fx": _FOCAL, "fy": 61.0, "cx": 32.0, "cy": 24.0, "width": 64, "height": 48}
        (folder / f"{Path(name).stem}.json").write_text(json.dumps(entries | camera))


def _texts(folder: Path) -> None:
    (folder / "K.txt").write_text(f"{_FOCAL} 0 32\n0 {_FOCAL} 24\n0 0 1\n")
    (folder / "cameras.txt").write_text(f"# Camera list\n1 PINHOLE 64 48 {_FOCAL} 61 32 24\n")
    (folder / "pairs.txt").write_text("a.jpg b.jpg\nb.jpg d.jpg\nsub/c.jpg a.jpg\n")
    (folder / "queries.txt").write_text(f"q/1.jpg PINHOLE 64 48 {_FOCAL} 61 32 24\nq/2.jpg\n")
    (folder / "results.txt").write_text("".join(f"{name} 1 0 0 0 {row} 0 0.5\n" for row, name in enumerate(NAMES)))
    (folder / "retrieval.txt").write_text("q.jpg a.jpg\nq.jpg sub/c.jpg\n")
    (folder / "gps.csv").write_text(
        "".join(["name,lat,lon,alt,accuracy_m\n", *(f"{n},48.1,11.5,500,2\n" for n in NAMES)])
    )
    marks = [f"p{point},{point},{point * 2},3,{name},{10 + point},20\n" for point in range(4) for name in NAMES[:2]]
    (folder / "control.csv").write_text("".join(["point,x,y,z,image,px,py\n", *marks]))
    (folder / "7scenes").mkdir()
    for name, pose in zip(NAMES, _WORLD_FROM_CAM, strict=True):
        rows = "\n".join(_numbers(row) for row in (*pose, np.array([0, 0, 0, 1.0])))
        (folder / "7scenes" / f"{Path(name).stem}.pose.txt").write_text(rows)


def _hloc(folder: Path) -> None:
    rng = np.random.default_rng(0)
    with h5py.File(folder / "features.h5", "w") as h5:
        for name in NAMES:
            h5[f"{name}/keypoints"], h5[f"{name}/descriptors"] = rng.random((9, 2)), rng.random((8, 9))
            h5[f"{name}/scores"], h5[f"{name}/image_size"] = rng.random(9), np.array(SIZE)
    with h5py.File(folder / "matches.h5", "w") as h5:
        h5["a.jpg/b.jpg/matches0"], h5["a.jpg/b.jpg/matching_scores0"] = np.arange(9) - 1, np.ones(9, np.float16)


def _predictions(folder: Path) -> None:
    rng = np.random.default_rng(0)
    maps = {f"points{role}": rng.random((6, 8, 3)).astype(np.float32) + 1 for role in (1, 2)}
    maps |= {f"confidence{role}": rng.random((6, 8)).astype(np.float32) + 1.5 for role in (1, 2)}
    header = StoreHeader(predictor="x", licence="x", fingerprint="x")
    with PredictionWriter(folder / "predictions.h5", NAMES, header) as writer:
        writer.add((0, 1), PairPrediction(**maps))


def _scene(folder: Path) -> None:
    rng = np.random.default_rng(0)
    matrix = np.array([[_FOCAL, 0, 32], [0, _FOCAL, 24], [0, 0, 1.0]])
    views = tuple(
        View(
            name=name,
            path=Path("photos") / name,
            size=SIZE,
            orientation=1,
            network_size=SIZE,
            network_from_image=np.eye(3),
            focal_prior=None,
            camera_group=0,
            known_intrinsics=matrix,
            known_cam_from_world=pose,
            known_camera=KnownCamera(model="SIMPLE_PINHOLE", size=SIZE, params=(_FOCAL, 32.0, 24.0)),
        )
        for name, pose in zip(NAMES, POSES, strict=True)
    )
    scene = Scene(
        image_root=Path("photos"),
        views=views,
        intrinsics=np.repeat(matrix[None], 4, axis=0),
        cam_from_world=POSES,
        registered=np.ones(4, bool),
        depths=tuple(rng.uniform(1, 9, SIZE[::-1]).astype(np.float32) for _ in views),
        confidences=tuple(rng.uniform(1, 99, SIZE[::-1]).astype(np.float32) for _ in views),
        edges=np.array([[0, 1], [1, 0]]),
        world_from_edge=np.repeat(np.eye(4)[None], 2, axis=0),
        edge_weights=np.array([0.5, 0.1]),
        edge_residuals=np.array([0.01, 0.02]),
        edge_cycles=np.array([[1.0, 2.0, 0.1]] * 2),
        covariances=rng.normal(size=(4, 6, 6)),
        warnings=("One.",),
    )
    write_scene(folder / "scene.h5", scene)


def _run(folder: Path) -> None:
    record = RunRecord(
        stages={"images": StageRecord(inputs={"a": 1}, done=True, seconds=0.5)},
        versions={"dust3r_sfm": "1"},
        options={"seed": 0},
        photographs=Photographs(root="photos", used=list(NAMES), dropped={}, bytes=dict.fromkeys(NAMES, 9)),
    )
    record.warnings, record.left_out = ["One."], {"x.jpg": "blurred"}
    (folder / "run.json").write_text(json.dumps(record.as_json()))


def _arrays(folder: Path) -> None:
    depth = np.random.default_rng(0).uniform(1, 9, (12, 16)).astype(np.float32)
    np.save(folder / "depth.npy", depth)
    np.savez_compressed(folder / "depth.npz", depth=depth)
    Image.fromarray((1000 * depth).astype(np.uint16)).save(folder / "depth.png")
    xyz = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    write_ply(folder / "cloud.ply", Cloud(xyz=xyz, normal=xyz, rgb=np.zeros((20, 3), np.uint8)))


_WRITERS = {
    "photographs": _photographs,
    "masks": _masks,
    "colmap-binary": lambda folder: _model().write_binary(str(folder)),
    "colmap-text": lambda folder: _model().write_text(str(folder)),
    "transforms": _transforms,
    "poses": _poses,
    "bundler": _bundle,
    "nvm": _nvm,
    "metashape": _metashape,
    "polycam": _polycam,
    "texts": _texts,
    "hloc": _hloc,
    "predictions": _predictions,
    "scene": _scene,
    "run": _run,
    "arrays": _arrays,
}
