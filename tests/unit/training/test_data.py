"""Views, crops, batches and mixtures: what reaches the network is geometrically what the files said."""

import numpy as np
import pytest
import torch
from PIL import Image

from dust3r_sfm.errors import InputError, SampleError
from dust3r_sfm.geometry.pinhole import project
from dust3r_sfm.training.augment import jitter
from dust3r_sfm.training.batch import collate
from dust3r_sfm.training.datasets.blended_mvs import BlendedMvs
from dust3r_sfm.training.datasets.covisible import mine_pairs, overlaps
from dust3r_sfm.training.datasets.depth_files import read_depth
from dust3r_sfm.training.datasets.folder import FolderSource
from dust3r_sfm.training.datasets.mixture import Mixture, Share
from dust3r_sfm.training.schedule import Schedule
from dust3r_sfm.training.view import crop_view


@pytest.mark.parametrize("shape", [(96, 64), (64, 96), (72, 70)])
def test_crops_keep_the_geometry_and_centre_the_principal_point(make_view, shape):
    view = make_view(0.4, *shape)
    view = view.__class__(
        **{**vars(view), "intrinsics": view.intrinsics + np.array([[0, 0, 5.0], [0, 0, -3], [0, 0, 0]])}
    )
    rng = np.random.default_rng(0)
    for _ in range(4):
        crop = crop_view(view, (48, 32), 8, rng)
        assert crop.size in ((48, 32), (32, 48))
        assert (crop.size == (32, 48)) == (shape[1] > shape[0]) or shape == (72, 70)
        np.testing.assert_allclose(crop.intrinsics[:2, 2], np.array(crop.size) / 2, atol=1.0)
        # The wall is a plane of the world: points of the crop lie on it as points of the photograph do.
        whole, part = view.world_points().reshape(-1, 3), crop.world_points().reshape(-1, 3)
        plane = np.linalg.lstsq(np.c_[whole[:, :2], np.ones(len(whole))], whole[:, 2], rcond=None)[0]
        off = part[:, 2] - np.c_[part[:, :2], np.ones(len(part))] @ plane
        assert np.abs(off).max() < 0.05


def test_a_principal_point_outside_is_refused(make_view):
    view = make_view(0.0)
    outside = view.__class__(
        **{**vars(view), "intrinsics": view.intrinsics + np.array([[0, 0, 500.0], [0, 0, 0], [0, 0, 0]])}
    )
    with pytest.raises(ValueError, match="outside"):
        crop_view(outside, (48, 32), 0, np.random.default_rng(0))


def test_batches_are_symmetric_and_both_pointmaps_are_in_camera_1(make_view):
    first, second = make_view(0.0, 48, 32), make_view(0.5, 48, 32)
    batch = collate([(first, second)])
    assert torch.equal(batch.images1, batch.images2.flip(0))
    target = batch.target
    torch.testing.assert_close(target.points1[0], torch.tensor(first.world_points(), dtype=torch.float32))
    assert float((target.points2[0, ..., 0] - target.points1[1, ..., 0]).mean()) == pytest.approx(0.5, abs=1e-5)
    seen = project(target.points1[0].numpy().reshape(-1, 3).astype(np.float64), first.intrinsics)
    column, row = np.meshgrid(np.arange(48) + 0.5, np.arange(32) + 0.5)
    np.testing.assert_allclose(seen, np.c_[column.ravel(), row.ravel()], atol=1e-3)


def test_portraits_are_stored_transposed(make_view):
    portrait, landscape = make_view(0.0, 32, 48), make_view(0.5, 48, 32)
    batch = collate([(portrait, landscape)])
    assert batch.images1.shape == (2, 3, 32, 48)
    assert batch.true_shape1.tolist() == [[48, 32], [32, 48]]
    stored = (batch.images1[0].permute(2, 1, 0).numpy() + 1) * 127.5
    np.testing.assert_allclose(stored, portrait.pixels, atol=0.01)
    np.testing.assert_allclose(batch.target.points1[0, ..., 2].T, portrait.depth, rtol=1e-5)


def test_jitter_is_the_same_in_both_roles_and_follows_its_moment(make_view):
    batch = collate([(make_view(0.0, 48, 32), make_view(0.5, 48, 32))])
    state = torch.random.get_rng_state()
    once, again = (jitter(batch, (0.5, 0.5, 0.5, 0.1), (0, 1, 2)) for _ in range(2))
    other = jitter(batch, (0.5, 0.5, 0.5, 0.1), (0, 1, 3))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(once.images1, again.images1) and not torch.equal(once.images1, other.images1)
    assert torch.equal(once.images1, once.images2.flip(0))
    assert not torch.equal(once.images1, batch.images1)


def test_overlap_is_high_nearby_and_zero_far_away(make_view):
    share = overlaps([make_view(0.0), make_view(0.4), make_view(60.0)])
    assert share[0, 1] > 0.8 and share[1, 0] > 0.8
    assert share[0, 2] == share[2, 0] == 0
    assert mine_pairs(share).tolist() == [[0, 1]]


def test_a_folder_gives_its_views_as_they_are(folder, make_view):
    source = FolderSource(folder / "images", folder / "depth", folder / "poses.json")
    assert len(source) >= 3
    first, second = source.pair(0, np.random.default_rng(0))
    expected = make_view(0.4 * int(first.name[0]))
    np.testing.assert_array_equal(first.pixels, expected.pixels)
    np.testing.assert_allclose(first.world_points(), expected.world_points(), rtol=1e-6)
    assert first.name != second.name


def test_broken_samples_are_passed_over_counted_and_named(folder):
    source = FolderSource(folder / "images", folder / "depth", folder / "poses.json")
    np.save(folder / "depth" / "1.npy", np.zeros((64, 96), np.float32))
    share = Share(source=source, pairs_per_epoch=12)
    mixture = Mixture(shares=[share], sizes=[(48, 32)], batch_size=4)
    batches = [mixture.batch(0, number) for number in range(mixture.batches_per_epoch())]
    assert len(batches) == 3 and all(len(batch) == 8 for batch in batches)
    assert sum(mixture.broken.values()) > 0
    assert all("1.npy" in reason for reason in mixture.broken)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "depth" / "0.npy").write_bytes(b"no"), "0.npy"),
        (lambda folder: np.save(folder / "depth" / "0.npy", np.ones((3, 4), np.float32)), "4 × 3"),
        (
            lambda folder: (folder / "images" / "0.png").write_bytes((folder / "images" / "0.png").read_bytes()[:200]),
            "0.png",
        ),
    ],
)
def test_a_broken_file_is_named(folder, spoil, message):
    source = FolderSource(folder / "images", folder / "depth", folder / "poses.json")
    spoil(folder)
    index = next(i for i in range(len(source)) if source._views[source._pairs[i][0]].name == "0.png")
    with pytest.raises(SampleError, match=message):
        source.pair(index, np.random.default_rng(0))


def test_half_a_folder_is_a_sentence(folder):
    with pytest.raises(InputError, match="no folder of depth maps"):
        FolderSource(folder / "images", folder / "nothing", folder / "poses.json")
    for path in list((folder / "depth").iterdir())[1:]:
        path.unlink()
    with pytest.raises(InputError, match="Only 1 of 4"):
        FolderSource(folder / "images", folder / "depth", folder / "poses.json")


def test_depth_pngs_are_millimetres(tmp_path):
    values = np.array([[0, 1500], [65535, 250]], np.uint16)
    Image.fromarray(values).save(tmp_path / "d.png")
    np.testing.assert_allclose(read_depth(tmp_path / "d.png"), [[0, 1.5], [0, 0.25]])
    with pytest.raises(SampleError, match="no known depth"):
        Image.fromarray(np.zeros((2, 2), np.uint16)).save(tmp_path / "e.png")
        read_depth(tmp_path / "e.png")


def test_blended_mvs_in_the_layout_of_the_preprocessing(tmp_path, make_view):
    exr = pytest.importorskip("OpenEXR")
    fields = [("seq_low", "<u8"), ("seq_high", "<u4"), ("img1", "<i4"), ("img2", "<i4"), ("score", "<f4")]
    pairs = np.array([(low, 7, 0, 1, 0.5) for low in (20, 21)], fields)
    np.save(tmp_path / "blendedmvs_pairs.npy", pairs)
    views = make_view(0.0), make_view(0.5)
    for low in (20, 21):
        sequence = tmp_path / f"{7:08x}{low:016x}"
        sequence.mkdir()
        for index, view in enumerate(views):
            Image.fromarray(view.pixels).save(sequence / f"{index:08d}.jpg", quality=98)
            header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
            exr.File(header, {"Y": view.depth}).write(str(sequence / f"{index:08d}.exr"))
            intrinsics = view.intrinsics - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
            centre = -view.cam_from_world[:, 3]
            np.savez(sequence / f"{index:08d}.npz", intrinsics=intrinsics, R_cam2world=np.eye(3), t_cam2world=centre)
    train, val = BlendedMvs(tmp_path), BlendedMvs(tmp_path, "val")
    assert len(train) == len(val) == 1
    first, second = train.pair(0, np.random.default_rng(0))
    np.testing.assert_allclose(second.world_points(), views[1].world_points(), rtol=1e-5)
    np.testing.assert_allclose(first.intrinsics, views[0].intrinsics)
    with pytest.raises(InputError, match="preprocessing of BlendedMVS"):
        BlendedMvs(tmp_path / "nowhere")


def test_mixtures_repeat_short_sources_and_shuffle_every_epoch(make_source):
    long, short = make_source(50), make_source(3)
    shares = [Share(source=long, pairs_per_epoch=20), Share(source=short, pairs_per_epoch=10)]
    mixture = Mixture(shares=shares, sizes=[(48, 32), (48, 16)], batch_size=5)
    first, second = mixture._order(0), mixture._order(1)
    assert sorted(which for which, _ in first) == [0] * 20 + [1] * 10
    assert len({index for which, index in first if which == 0}) == 20
    assert {index for which, index in first if which == 1} == {0, 1, 2}
    assert first != second
    assert mixture.batches_per_epoch(2) == 3
    shapes = {(batch.images1.shape[2:]) for batch in (mixture.batch(0, n) for n in range(6))}
    assert len(shapes) == 2


def test_the_schedule_rises_and_falls():
    schedule = Schedule(peak=1e-3, floor=1e-6, warmup=2.0, epochs=10.0)
    assert schedule.rate(0.0) == 0 and schedule.rate(1.0) == pytest.approx(5e-4)
    assert schedule.rate(2.0) == pytest.approx(1e-3) and schedule.rate(10.0) == pytest.approx(1e-6)
    assert schedule.rate(6.0) == pytest.approx((1e-3 + 1e-6) / 2)
