"""Photographs of one surface look alike there, and those that do not are found out and left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from dust3r_sfm.alignment import align
from dust3r_sfm.alignment.appearance import unlike_pairs
from dust3r_sfm.alignment.doubt import align_doubting, contradictions
from dust3r_sfm.geometry.pinhole import intrinsics
from dust3r_sfm.geometry.transforms import apply, invert
from dust3r_sfm.options import AlignOptions
from dust3r_sfm.synthetic.textures import noise
from dust3r_sfm.types import GUESSED, ImageSet, PairPrediction, Scene, View

SIZE, FOCAL, DEPTH, STEP_PX = (160, 120), 120.0, 4.0, 8


def _texture(seed: int) -> np.ndarray:
    field = noise(np.random.default_rng(seed), (SIZE[0] + 4 * STEP_PX, SIZE[1]), coarsest=16)
    return np.clip(128 + 45 * field, 0, 255).astype(np.uint8)


def _wall(folder: Path, pictures: list[np.ndarray]) -> Scene:
    """A wall before cameras side by side, each of which sees the texture moved by `STEP_PX`."""
    views = []
    for index, picture in enumerate(pictures):
        path = folder / f"{index}.png"
        part = picture[:, index * STEP_PX : index * STEP_PX + SIZE[0]]
        Image.fromarray(np.repeat(part[..., None], 3, axis=-1)).save(path)
        views.append(
            View(
                name=path.name,
                path=path,
                size=SIZE,
                orientation=1,
                network_size=SIZE,
                network_from_image=np.eye(3),
                focal_prior=None,
                camera_group=0,
            )
        )
    num = len(views)
    poses = np.tile(np.eye(3, 4), (num, 1, 1))
    poses[:, 0, 3] = -np.arange(num) * STEP_PX * DEPTH / FOCAL
    edges = np.array([(i, j) for i in range(num) for j in range(num) if i != j], np.int64)
    return Scene(
        image_root=folder,
        views=tuple(views),
        intrinsics=np.tile(intrinsics(FOCAL, SIZE), (num, 1, 1)),
        cam_from_world=poses,
        registered=np.ones(num, bool),
        depths=tuple(np.full(SIZE[::-1], DEPTH, np.float32) for _ in views),
        confidences=tuple(np.full(SIZE[::-1], 10, np.float32) for _ in views),
        edges=edges,
        world_from_edge=np.tile(np.eye(4), (len(edges), 1, 1)),
        edge_weights=np.ones(len(edges)),
        edge_residuals=np.zeros(len(edges)),
    )


def _half_other() -> np.ndarray:
    """A wall like the first one below, with another frieze."""
    picture = _texture(0).copy()
    picture[:70] = _texture(1)[:70]
    return picture


def test_photographs_of_one_wall_are_alike_also_in_less_light(tmp_path: Path) -> None:
    dim = np.clip(0.6 * _texture(0) + 20, 0, 255).astype(np.uint8)
    assert unlike_pairs(_wall(tmp_path, [_texture(0), dim, _texture(0)])) == []


def test_what_agrees_in_part_and_differs_in_the_rest_is_found(tmp_path: Path) -> None:
    scene = _wall(tmp_path, [_texture(0), _texture(0), _half_other()])
    found = unlike_pairs(scene)
    assert {each.pair for each in found} == {(0, 2), (1, 2)}
    assert all(each.is_held and 0.25 < each.share < 0.6 for each in found)
    apart = replace(scene, edge_weights=np.where((scene.edges == 2).any(1), 0.0, 1.0))
    assert {each.pair for each in unlike_pairs(apart)} == {(0, 2), (1, 2)}
    assert not any(each.is_held for each in unlike_pairs(apart))


def test_only_measured_depths_of_one_surface_are_compared(tmp_path: Path) -> None:
    scene = _wall(tmp_path, [_texture(0), _half_other()])
    assert len(unlike_pairs(scene)) == 1
    guessed = np.full(SIZE[::-1], GUESSED, np.float32)
    assert unlike_pairs(replace(scene, confidences=(scene.confidences[0], guessed))) == []
    assert unlike_pairs(replace(scene, depths=(scene.depths[0], np.float32(1.2) * scene.depths[1]))) == []
    assert unlike_pairs(replace(scene, registered=np.array([True, False]), edge_weights=np.zeros(2))) == []


def test_photographs_that_are_gone_are_not_judged(tmp_path: Path) -> None:
    scene = _wall(tmp_path, [_texture(0), _half_other()])
    scene.views[1].path.unlink()
    assert unlike_pairs(scene) == []


def test_a_pair_that_only_looks_alike_is_left_out_and_named(tmp_path: Path) -> None:
    scene = _wall(tmp_path, [_texture(0), _texture(0), _half_other()])
    images = ImageSet(root=tmp_path, views=scene.views)
    asked, plane = [], np.ones((*SIZE[::-1], 3), np.float32)
    known = PairPrediction(
        points1=plane, confidence1=scene.confidences[0], points2=plane, confidence2=scene.confidences[1]
    )

    def solve(predictions) -> tuple[Scene, ...]:
        asked.append(set(predictions))
        assert len(predictions) == len(asked[-1]) and all(predictions[edge] is known for edge in predictions)
        kept = np.array([tuple(edge) in asked[-1] for edge in scene.edges.tolist()])
        within = replace(scene, registered=np.array([True, True, bool(kept.all())]))
        return (replace(within, edge_weights=kept.astype(float)),)

    edges = [tuple(edge) for edge in scene.edges.tolist()]
    (found,) = align_doubting(solve, images, dict.fromkeys(edges, known))
    assert asked == [set(edges), {(0, 1), (1, 0)}]
    assert found.registered.tolist() == [True, True, False]
    (sentence,) = found.warnings
    assert "0.png and 2.png" in sentence and "1.png and 2.png" in sentence and "do not count" in sentence


def test_what_no_pair_holds_is_only_doubted(tmp_path: Path) -> None:
    scene = _wall(tmp_path, [_texture(0), _half_other()])
    nothing = {
        name: getattr(scene, name)[:0] for name in ("edges", "edge_weights", "edge_residuals", "world_from_edge")
    }
    scene = replace(scene, **nothing)
    (found,) = align_doubting(lambda predictions: (scene,), ImageSet(root=tmp_path, views=scene.views), {})
    (sentence,) = found.warnings
    assert "may be folded" in sentence and "0.png and 1.png" in sentence


@pytest.mark.parametrize("share", [1.0, 0.05])
def test_a_pair_that_knows_much_and_contradicts_the_cameras_is_named(make_problem, share: float) -> None:
    problem, rng = make_problem(num_images=6, shape=(48, 64)), np.random.default_rng(0)
    own = {0: problem.predictions[0, 1].points1, 1: problem.predictions[1, 0].points1}
    wrong = np.c_[Rotation.from_euler("y", 60, degrees=True).as_matrix(), [0.5, 0.0, 0.2]]
    confidence = np.where(rng.uniform(size=(48, 64)) < share, 10, GUESSED).astype(np.float32)
    predictions = dict(problem.predictions)
    for (i, j), pose in (((0, 1), invert(wrong)), ((1, 0), wrong)):
        moved = apply(pose, own[j].reshape(-1, 3)).reshape(own[j].shape).astype(np.float32)
        predictions[i, j] = PairPrediction(
            points1=own[i], confidence1=confidence, points2=moved, confidence2=confidence
        )
    scene = align(problem.images, predictions, AlignOptions())
    assert scene.registered.all() and (scene.edge_weights == 0).sum() == 2
    found = contradictions(scene, problem.images, predictions)
    assert len(found) == (share == 1.0)
    assert all("may be folded" in sentence and scene.names[0] in sentence for sentence in found)
    assert contradictions(align(problem.images, problem.predictions, AlignOptions()), problem.images, {}) == ()
