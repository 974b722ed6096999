"""The last adjustment with what is measured of the world: a block of aerial photographs that a wrong lens has domed."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dust3r_sfm.colmap.model import NO_TRACKS, id_of_image, with_points
from dust3r_sfm.refinement.adjust import AdjustmentMask, adjusted
from dust3r_sfm.refinement.world import World
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.types import ControlPoints, Positions, Priors, Tracks

FOCAL, SIZE = 800.0, (1000, 800)
K1 = -0.01
NADIR = np.diag([1.0, -1.0, -1.0])
COUNT = 35


class Block:
    """Five strips of seven photographs of rough ground, 60 m above it, over 200 m."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        x, y = np.meshgrid(np.linspace(-90, 90, 7), np.linspace(-60, 60, 5))
        self.centres = np.column_stack([x.ravel(), y.ravel(), 60 + rng.uniform(-1, 1, COUNT)])
        ground = rng.uniform(-130, 130, (1500, 2))
        self.xyz = np.column_stack([ground, 4 * np.sin(ground[:, 0] / 20) * np.cos(ground[:, 1] / 15)])
        turns = Rotation.from_euler("xyz", rng.normal(0, 3, (COUNT, 3)), degrees=True).as_matrix()
        self.rotations = turns @ NADIR
        seen = [self.project(image, self.xyz) for image in range(COUNT)]
        image_of, point_of = np.nonzero(np.array([inside for _, inside in seen]))
        xy = np.array([seen[image][0][point] for image, point in zip(image_of, point_of, strict=True)])
        order = np.argsort(point_of, kind="stable")
        self.tracks = Tracks(
            xyz=self.xyz,
            rgb=np.zeros((len(self.xyz), 3), np.uint8),
            track_of=point_of[order],
            image_of=image_of[order],
            xy=(xy + rng.normal(0, 0.3, xy.shape))[order],
        )
        self.tracks = self.tracks.take(np.ones(len(xy), bool))

    def project(self, image: int, xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of points in a photograph, and which are in it."""
        local = (xyz - self.centres[image]) @ self.rotations[image].T
        plane = local[:, :2] / local[:, 2:]
        plane = plane * (1 + K1 * (plane**2).sum(1, keepdims=True))
        xy = FOCAL * plane + np.array(SIZE) / 2
        return xy, (local[:, 2] > 1) & ((xy > 0) & (xy < SIZE)).all(1)

    def cameras(self) -> pycolmap.Reconstruction:
        """The true poses, with a camera that knows no distortion."""
        model = pycolmap.Reconstruction()
        params = [FOCAL, SIZE[0] / 2, SIZE[1] / 2]
        camera = pycolmap.Camera(model="SIMPLE_PINHOLE", width=SIZE[0], height=SIZE[1], params=params, camera_id=1)
        model.add_camera_with_trivial_rig(camera)
        for image, (rotation, centre) in enumerate(zip(self.rotations, self.centres, strict=True)):
            pose = pycolmap.Rigid3d(np.column_stack([rotation, -rotation @ centre]))
            model.add_image_with_trivial_frame(pycolmap.Image(f"{image}.jpg", [], 1, id_of_image(image)), pose)
        return model

    def adjusted(self, priors: Priors | None, start: pycolmap.Reconstruction | None = None):
        """The block after the last adjustment, with the camera held."""
        world = None if priors is None else World(priors=priors, raw_from_upright=np.tile(np.eye(3), (COUNT, 1, 1)))
        mask = AdjustmentMask(known_cameras=np.ones(COUNT, bool), known_poses=np.zeros(COUNT, bool), world=world)
        return adjusted(start or self.cameras(), self.tracks, mask, last=True)

    def errors(self, model: pycolmap.Reconstruction) -> np.ndarray:
        """Distances of the cameras from the truth."""
        found = np.array([image.projection_center() for _, image in sorted(model.images.items())])
        return np.linalg.norm(found - self.centres, axis=1)

    def control(self, noise_px: float = 0.3) -> ControlPoints:
        """Nine points of the ground, marked wherever they are seen."""
        rng = np.random.default_rng(4)
        xyz = self.xyz[[np.linalg.norm(self.xyz[:, :2] - place, axis=1).argmin() for place in GRID]]
        rows = []
        for image in range(COUNT):
            xy, inside = self.project(image, xyz)
            rows += [(point, image, *(xy[point] + noise_px * rng.normal(size=2))) for point in np.flatnonzero(inside)]
        table = np.array(sorted(rows))
        return ControlPoints(
            names=tuple(f"P{index}" for index in range(len(xyz))),
            xyz=xyz,
            point_of=table[:, 0].astype(np.int64),
            image_of=table[:, 1].astype(np.int64),
            xy=table[:, 2:],
        )


GRID = [(x, y) for x in (-80, 0, 80) for y in (-55, 0, 55)]


@pytest.fixture(scope="module")
def block() -> Block:
    return Block()


@pytest.fixture(scope="module")
def domed(block) -> pycolmap.Reconstruction:
    """What the photographs alone come to."""
    model = block.adjusted(None)[0]
    assert rms(block.errors(model)) > 1.0
    return model


def rms(errors: np.ndarray) -> float:
    return float(np.sqrt((errors**2).mean()))


def precise(block: Block, sigma: float = 0.3) -> Positions:
    noise = sigma * np.random.default_rng(1).standard_normal((COUNT, 3))
    return Positions(xyz=block.centres + noise, sigmas=np.full((COUNT, 3), sigma))


def test_positions_bend_the_model_back(block, domed):
    model, tracks = block.adjusted(Priors(positions=precise(block), upright=True), domed)
    assert rms(block.errors(model)) < 0.4 * rms(block.errors(domed))
    np.testing.assert_allclose(tracks.xyz, [point.xyz for _, point in sorted(model.points3D.items())])


def test_wrong_positions_do_not_bend_it(block, domed):
    positions = precise(block)
    right = block.errors(block.adjusted(Priors(positions=positions, upright=True), domed)[0])
    wrong = replace(positions, xyz=positions.xyz.copy())
    wrong.xyz[[3, 17, 30]] += [[60, -20, 5], [0, 0, 40], [-150, 100, 0]]
    found = block.errors(block.adjusted(Priors(positions=wrong, upright=True), domed)[0])
    assert rms(found) < 1.2 * rms(right) and found.max() < 1.5 * right.max()


def test_the_same_twice(block, domed):
    priors = Priors(positions=precise(block), upright=True)
    first, second = (block.errors(block.adjusted(priors, domed)[0]) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_control_points_place_and_bend_the_model(block, domed):
    """From anywhere."""
    moved = with_points(domed, NO_TRACKS)
    turn = pycolmap.Rotation3d(Rotation.from_rotvec([0.1, 0.2, 2.0]).as_matrix())
    moved.transform(pycolmap.Sim3d(0.9, turn, np.array([5.0, 9.0, -3.0])))
    model, tracks = block.adjusted(Priors(control=block.control(), upright=True), moved)
    assert rms(block.errors(model)) < 0.4 * rms(block.errors(domed))
    assert len(tracks.xyz) == len(model.points3D) <= len(block.tracks.xyz)


def test_a_wrong_control_point_does_not_bend_it(block, domed):
    control = block.control()
    right = block.errors(block.adjusted(Priors(control=control, upright=True), domed)[0])
    one_wrong = replace(control, xyz=control.xyz + (np.arange(9) == 4)[:, None] * [0.0, 30.0, 5.0])
    found = block.errors(block.adjusted(Priors(control=one_wrong, upright=True), domed)[0])
    assert rms(found) < 1.5 * rms(right)


def test_gravity_and_a_distance_turn_and_scale_as_a_whole(block):
    """Nadir photographs, so only sensors tell what is up; they hang a little off."""
    down = np.array([0.0, 0.0, -1.0])
    gravity = block.rotations @ down
    tilted = block.cameras()
    turn = pycolmap.Rotation3d(Rotation.from_rotvec([0.05, -0.03, 0.0]).as_matrix())
    tilted.transform(pycolmap.Sim3d(0.5, turn, np.zeros(3)))
    metres = float(np.linalg.norm(block.centres[34] - block.centres[0]))
    tracks = replace(block.tracks, xyz=0.5 * block.tracks.xyz @ turn.matrix().T)
    priors = Priors(gravity=gravity, distance=(0, 34, metres), upright=True)
    world = World(priors=priors, raw_from_upright=np.tile(np.eye(3), (COUNT, 1, 1)))
    mask = AdjustmentMask(known_cameras=np.ones(COUNT, bool), known_poses=np.zeros(COUNT, bool), world=world)
    model, _ = adjusted(tilted, tracks, mask, last=True)
    ends = [model.images[id_of_image(image)].projection_center() for image in (0, 34)]
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(metres, rel=1e-9)
    found = [model.images[id_of_image(image)].cam_from_world().rotation.matrix() for image in range(COUNT)]
    downs = np.einsum("nji,nj->ni", found, gravity)
    assert np.degrees(np.arccos(-downs.mean(0)[2] / np.linalg.norm(downs.mean(0)))) < 0.1
