import numpy as np
import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.pairs.graph import components
from dust3r_sfm.pairs.poses import pairs_from_poses
from dust3r_sfm.system._pycolmap import pycolmap

NUM_IMAGES = 12


def look_at_centre(angle, radius=5.0):
    """Camera of a ring around the origin, in the plane y = 0."""
    centre = radius * np.array([np.sin(angle), 0.0, -np.cos(angle)])
    forward = -centre / radius
    down = np.array([0.0, 1.0, 0.0])
    rotation = np.stack([np.cross(down, forward), down, forward])
    return pycolmap.Rigid3d(pycolmap.Rotation3d(rotation), -rotation @ centre)


def ring():
    return [look_at_centre(2 * np.pi * index / NUM_IMAGES) for index in range(NUM_IMAGES)]


def write_model(folder, poses, visible=None):
    """A model without pictures; `visible[point]` lists the images that see each point."""
    model = pycolmap.Reconstruction()
    camera = pycolmap.Camera.create_from_model_name(1, "SIMPLE_PINHOLE", 500.0, 640, 480)
    model.add_camera_with_trivial_rig(camera)
    tracks = visible or []
    for index in range(NUM_IMAGES):
        image = pycolmap.Image(image_id=index + 1, name=f"s/{index:02d}.jpg", camera_id=1)
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(np.array([5.0, 5.0])) for _ in tracks])
        model.add_image_with_trivial_frame(image, poses[index])
    for number, images in enumerate(tracks):
        track = pycolmap.Track()
        for index in images:
            track.add_element(index + 1, number)
        model.add_point3D(np.zeros(3), track, np.zeros(3, dtype=np.uint8))
    folder.mkdir()
    model.write(folder)
    return folder


@pytest.fixture
def names():
    return [f"s/{index:02d}.jpg" for index in range(NUM_IMAGES)]


def test_neighbours_on_a_ring_are_paired(tmp_path, names):
    graph = pairs_from_poses(write_model(tmp_path / "model", ring()), names, 2)

    expected = {(min(i, (i + 1) % NUM_IMAGES), max(i, (i + 1) % NUM_IMAGES)) for i in range(NUM_IMAGES)}
    assert {tuple(edge) for edge in graph.edges.tolist()} == expected


def test_neighbours_on_a_line_are_paired_though_all_look_the_same_way(tmp_path, names):
    order = np.random.default_rng(0).permutation(NUM_IMAGES)
    rails = [pycolmap.Rigid3d(pycolmap.Rotation3d(), np.array([-float(place**1.1), 0.0, 0.0])) for place in order]
    graph = pairs_from_poses(write_model(tmp_path / "model", rails), names, 1)

    assert sorted(sorted(order[edge].tolist()) for edge in graph.edges) == [[i, i + 1] for i in range(NUM_IMAGES - 1)]


def test_cameras_back_to_back_are_not_neighbours(tmp_path, names):
    poses = ring()
    turned = pycolmap.Rotation3d(np.diag([-1.0, 1.0, -1.0]))
    for index in range(1, NUM_IMAGES, 2):
        poses[index] = pycolmap.Rigid3d(turned, np.zeros(3)) * poses[index]
    graph = pairs_from_poses(write_model(tmp_path / "model", poses), names, 2)

    inward, outward = set(range(0, NUM_IMAGES, 2)), set(range(1, NUM_IMAGES, 2))
    assert sum((i in inward) == (j in inward) for i, j in graph.edges.tolist()) >= len(inward) + len(outward)


def test_shared_points_count_for_more_than_distance(tmp_path, names):
    across = [[index, index + 6] for index in range(6) for _ in range(3)]
    graph = pairs_from_poses(write_model(tmp_path / "model", ring(), across), names, 1)

    pairs = {tuple(edge) for edge in graph.edges.tolist()}
    assert {(index, index + 6) for index in range(6)} <= pairs
    assert len(components(graph)) == 1
    heaviest = graph.edges[np.argsort(-graph.weights)[:6]]
    assert {tuple(edge) for edge in heaviest.tolist()} == {(index, index + 6) for index in range(6)}
    assert 3.0 <= graph.weights.max() < 4.0


def test_photographs_that_the_model_does_not_know_get_no_pair(tmp_path, names):
    graph = pairs_from_poses(write_model(tmp_path / "model", ring()), ["new.jpg", *names], 2)
    assert graph.num_images == NUM_IMAGES + 1
    assert graph.edges.min() == 1


def test_models_that_do_not_fit_are_refused(tmp_path, names):
    with pytest.raises(InputError, match="is not a COLMAP model"):
        pairs_from_poses(tmp_path, names, 2)
    model = write_model(tmp_path / "model", ring())
    with pytest.raises(InputError, match=r"knows 0 of the 2 photographs by name.*like a\.jpg"):
        pairs_from_poses(model, ["a.jpg", "b.jpg"], 2)
    (model / "images.bin").write_bytes(b"\x05")
    with pytest.raises(InputError, match="cannot be read"):
        pairs_from_poses(model, names, 2)
