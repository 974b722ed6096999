"""The first surface that a ray meets, against a float64 reference that tries every face of every object."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq

from dust3r_sfm.synthetic.generator import scenes as layout
from dust3r_sfm.synthetic.generator.cameras import choose_pairs, draw_cameras
from dust3r_sfm.synthetic.generator.cast import cast
from dust3r_sfm.synthetic.generator.draw import draw_scenes
from dust3r_sfm.synthetic.generator.relief import meet_relief
from dust3r_sfm.synthetic.generator.search import nearest_object
from dust3r_sfm.synthetic.generator.shade import is_lit

SIZE = (20, 20)
EPS = 1e-9


def box_crossings(o, d):
    for axis in range(3):
        for side in (-1, 1):
            with np.errstate(divide="ignore", invalid="ignore"):
                t = (side - o[axis]) / d[:, axis]
                p = o + t[:, None] * d
            others = [k for k in range(3) if k != axis]
            yield np.where((np.abs(p[:, others]) <= 1 + EPS).all(1), t, np.inf)


def conic_crossings(o, d, axes):
    """Both roots by the companion polynomial's stable formula."""
    a, b, c = (d[:, axes] ** 2).sum(1), 2 * (d[:, axes] * o[axes]).sum(1), (o[axes] ** 2).sum() - 1
    square = b * b - 4 * a * c
    q = -0.5 * (b + np.where(b >= 0, 1, -1) * np.sqrt(np.maximum(square, 0)))
    for t in (q / a, c / q):
        yield np.where(square > 0, t, np.inf)


def object_crossings(number, o, d):
    if number < layout.NUM_BOXES:
        yield from box_crossings(o, d)
    elif number < layout.NUM_BOXES + layout.NUM_ELLIPSOIDS:
        yield from conic_crossings(o, d, [0, 1, 2])
    else:
        for t in conic_crossings(o, d, [0, 1]):
            with np.errstate(invalid="ignore"):
                yield np.where(np.abs(o[2] + t * d[:, 2]) <= 1, t, np.inf)
        for side in (-1, 1):
            t = (side - o[2]) / d[:, 2]
            p = o + t[:, None] * d
            yield np.where((p[:, :2] ** 2).sum(1) <= 1, t, np.inf)


def reference(scenes, scene, origin, directions):
    """Distance to the nearest object or face of the shell."""
    best = np.full(len(directions), np.inf)
    frames = [*scenes.unit_from_world[scene].numpy(), scenes.shell_from_world[scene].numpy()]
    for number, frame in enumerate(frames):
        o, d = frame[:, :3] @ origin + frame[:, 3], directions @ frame[:, :3].T
        if number < layout.NUM_OBJECTS and not scenes.is_present[scene, number]:
            continue
        crossings = box_crossings(o, d) if number == layout.NUM_OBJECTS else object_crossings(number, o, d)
        for t in crossings:
            best = np.minimum(best, np.where(t > 1e-6, t, np.inf))
    return best


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(3)
    scenes, kind = draw_scenes(rng, 12, 20)
    cameras = choose_pairs(rng, scenes, draw_cameras(rng, kind, scenes))
    return scenes, kind, cameras


def test_distances_are_those_of_the_reference(drawn):
    scenes, _, cameras = drawn
    scenes = type(scenes)(**{**vars(scenes), "waves": torch.zeros_like(scenes.waves)})
    wrong = total = 0
    for scene in range(len(scenes)):
        for view in range(2):
            camera = cameras.at(torch.tensor([scene]), torch.tensor([view]))
            _, directions = camera.directions(SIZE)
            hits = cast(scenes.select(torch.tensor([scene])), camera.centre, directions)
            truth = reference(scenes, scene, camera.centre[0].numpy(), directions[0].numpy())
            known = (hits.known | hits.sky)[0].numpy()
            error = np.abs(hits.distance[0].numpy() / truth - 1)[known]
            assert np.median(error) < 1e-13
            wrong += (error > 1e-4).sum()
            total += known.sum()
            assert known.mean() > 0.999
    # An outline may fall on the other side of a ray in float32.
    assert wrong <= 2 and total > 9000


def test_normals_are_the_gradient_of_the_distance(drawn):
    scenes, _, cameras = drawn
    flat = cameras.flat()
    index = torch.arange(len(scenes)).repeat_interleave(2)
    _, directions = flat.directions((16, 16))
    own = scenes.select(index)
    hits = cast(own, flat.centre, directions)
    points = flat.centre[:, None] + hits.distance[..., None] * directions
    # The plane through a hit predicts the neighbouring hit on the same flat face.
    step = (points[:, 1:] - points[:, :-1]) / hits.distance[:, 1:, None]
    along = (step * hits.normal[:, :-1]).sum(-1).abs()
    flat_face = (hits.surface[:, 1:] == hits.surface[:, :-1]) & (hits.surface[:, 1:] != layout.FLOOR)
    flat_face &= (hits.surface[:, 1:] < layout.NUM_BOXES) | (hits.surface[:, 1:] >= layout.NUM_OBJECTS)
    flat_face &= (hits.normal[:, 1:] - hits.normal[:, :-1]).norm(dim=-1) < 1e-9
    assert flat_face.sum() > 1000
    assert along[flat_face & hits.known[:, 1:] & hits.known[:, :-1]].max() < 1e-9
    assert ((hits.normal * directions).sum(-1) <= 0).all()
    torch.testing.assert_close(hits.normal.norm(dim=-1), torch.ones_like(hits.distance))


def test_a_relief_is_met_at_its_first_crossing():
    waves = torch.tensor([[[1.5, 0.3, 0.2, 0.12], [-0.7, 2.0, 1.0, 0.08], [0.2, -1.1, 2.0, 0.1]]], dtype=torch.float64)

    def height(x, y):
        kx, ky, phase, amplitude = waves[0].numpy().T[..., None]
        return (amplitude * (1 + np.sin(kx * x + ky * y + phase))).sum(0)

    rng = np.random.default_rng(0)
    origin = np.array([0.2, -0.3, 1.4])
    rays = np.column_stack([rng.normal(size=(150, 2)), -np.exp(rng.uniform(-2.5, 0.5, 150))])
    limit = torch.full((1, 150), 40.0, dtype=torch.float64)
    distance, normal, on_ground, settled = meet_relief(
        waves, torch.from_numpy(origin)[None], torch.from_numpy(rays)[None], limit
    )
    assert on_ground.double().mean() > 0.9 and settled.double().mean() > 0.95
    steps = np.linspace(0, 40, 8001)
    for ray, found, up in zip(
        *(values[on_ground[0]].numpy() for values in (torch.from_numpy(rays), distance[0], normal[0])), strict=True
    ):

        def gap(t, ray=ray):
            x, y, z = origin[:, None] + np.outer(ray, np.atleast_1d(t))
            return z - height(x, y)

        below = np.flatnonzero(gap(steps) < 0)
        truth = brentq(lambda t: gap(t).item(), steps[below[0] - 1], steps[below[0]], xtol=1e-12)
        # Not behind the first crossing of the search, and itself on the floor: the search may step over a thin bump.
        assert found <= truth * (1 + 1e-4)
        assert abs(gap(found).item()) < 1e-6
        x, y, _ = origin + found * ray
        slopes = [(height(x + dx, y + dy) - height(x - dx, y - dy)).item() / 2e-6 for dx, dy in ((1e-6, 0), (0, 1e-6))]
        expected = np.array([-slopes[0], -slopes[1], 1])
        np.testing.assert_allclose(up, expected / np.linalg.norm(expected), atol=1e-5)


def test_what_hides_the_light_casts_a_shadow(drawn):
    scenes, _, _ = drawn
    one = scenes.select(torch.tensor([0]))
    which = int(one.is_present[0].nonzero()[0])
    frame = one.unit_from_world[0, which]
    centre = -torch.linalg.solve(frame[:, :3], frame[:, 3])
    away = torch.nn.functional.normalize(centre - one.light[0], dim=0)
    behind = centre + 0.01 * away
    assert not is_lit(one, behind[None, None]).item()
    near_light = one.light[0] + 1e-3 * away
    assert is_lit(one, near_light[None, None]).item()


def test_scenes_do_not_depend_on_their_company(drawn):
    scenes, _, cameras = drawn
    camera = cameras.at(torch.tensor([4, 7]), torch.tensor([0, 1]))
    _, directions = camera.directions((9, 9))
    together = nearest_object(scenes.select(torch.tensor([4, 7])), camera.centre, directions)
    alone = nearest_object(scenes.select(torch.tensor([7])), camera.centre[1:], directions[1:])
    torch.testing.assert_close(together[0][1:], alone[0])
    assert torch.equal(together[1][1:][alone[0].isfinite()], alone[1][alone[0].isfinite()])
