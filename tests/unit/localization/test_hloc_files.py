"""Files in hloc's exact layout: pairs, global features, keypoints at integer centres, both names of a pair."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import rotation_angle
from dust3r_sfm.images.known_cameras import colmap_camera
from dust3r_sfm.localization.hloc_files import FileMatcher, global_retrieval, read_retrieval
from dust3r_sfm.localization.localize import localize_queries
from dust3r_sfm.localization.open_map import make_map
from dust3r_sfm.localization.queries import Query
from dust3r_sfm.options import LocalizeOptions
from dust3r_sfm.types import View

XY = np.array([[10.0, 20.0], [300.0, 40.0], [511.0, 383.0]])


@pytest.fixture
def queries(courtyard) -> list[View]:
    return [courtyard.query]


def _write_features(path, names, dtype=np.float16):
    with h5py.File(path, "w", libver="latest") as h5:
        for number, name in enumerate(names):
            group = h5.create_group(name)
            keypoints = group.create_dataset("keypoints", data=(XY + number).astype(dtype))
            keypoints.attrs["uncertainty"] = 1.0
            group.create_dataset("descriptors", data=np.zeros((256, 3), np.float16))
            group.create_dataset("scores", data=np.ones(3, np.float16))
            group.create_dataset("image_size", data=np.array([512, 384]))


def _write_matches(path, key, matches):
    with h5py.File(path, "w", libver="latest") as h5:
        group = h5.create_group(key)
        group.create_dataset("matches0", data=np.array(matches, np.int16))
        group.create_dataset("matching_scores0", data=np.linspace(0.5, 0.9, len(matches)).astype(np.float16))


def _key(first, second, separator):
    return separator.join(name.replace("/", "-") for name in (first, second))


@pytest.mark.parametrize("separator", ["/", "_"], ids=["present", "legacy"])
@pytest.mark.parametrize("swapped", [False, True])
def test_matches_of_sparse_and_dense_matchers(courtyard, queries, tmp_path, separator, swapped):
    reference = courtyard.reference
    query, image = queries[0].name, reference.names[3]
    _write_features(tmp_path / "f.h5", [query, image])
    first, second = (image, query) if swapped else (query, image)
    _write_matches(tmp_path / "m.h5", _key(first, second, separator), [2, -1, 0])
    matcher = FileMatcher(reference, tmp_path / "f.h5", tmp_path / "m.h5")
    (found,) = matcher.match(queries, [(0, 3)])
    # keypoints 0 and 2 of the first named image match 2 and 0 of the other; hloc's centres are at integers
    rows = [2, 0] if swapped else [0, 2]
    assert np.allclose(found.xy1, XY[rows] + 0.5)
    assert np.allclose(found.xy2, np.float16(XY[rows[::-1]] + 1).astype(np.float64) + 0.5)
    assert np.allclose(found.confidence, [0.5, 0.9], atol=1e-3)


def test_integer_centres_give_the_exact_pose(courtyard, queries, tmp_path):
    """Keypoints of a map's image and where its points are seen in the query: half a pixel would be 0.05 degrees."""
    reference, pose, rng = courtyard.reference, courtyard.pose, np.random.default_rng(0)
    xy = rng.uniform((5, 5), np.array(reference.views[1].size) - 5, (400, 2))
    world = courtyard.lift(1, xy)
    camera = colmap_camera(courtyard.camera)
    seen = world @ pose[:, :3].T + pose[:, 3]
    kept = np.isfinite(seen[:, 0]) & (seen[:, 2] > 0)
    with h5py.File(tmp_path / "f.h5", "w") as h5:
        h5.create_group(queries[0].name)["keypoints"] = (np.asarray(camera.img_from_cam(seen[kept])) - 0.5).astype("f4")
        h5.create_group(reference.names[1])["keypoints"] = (xy[kept] - 0.5).astype("f4")
    _write_matches(tmp_path / "m.h5", _key(queries[0].name, reference.names[1], "/"), np.arange(kept.sum()))
    (tmp_path / "pairs.txt").write_text(f"{queries[0].name} {reference.names[1]}\n")
    options = LocalizeOptions(
        retrieval_pairs=tmp_path / "pairs.txt", hloc_features=tmp_path / "f.h5", hloc_matches=tmp_path / "m.h5"
    )
    opened = make_map(reference, courtyard.lift, courtyard.oracle(), options)
    (found,) = localize_queries(opened, [Query(name=queries[0].name, view=queries[0], camera=courtyard.camera)])
    assert found.cam_from_world is not None and found.retrieved == (reference.names[1],)
    assert rotation_angle(found.cam_from_world[:, :3] @ pose[:, :3].T) < 1e-3
    (lost,) = localize_queries(opened, [Query(name="other.jpg", view=replace(queries[0], name="other.jpg"))])
    assert lost.cam_from_world is None and "no image of the map is listed" in lost.reason


def test_a_pair_without_matches_is_empty_and_files_that_do_not_fit_are_named(courtyard, queries, tmp_path):
    reference = courtyard.reference
    _write_features(tmp_path / "f.h5", [queries[0].name, *reference.names])
    _write_matches(tmp_path / "m.h5", _key(queries[0].name, reference.names[0], "/"), [0, 1, 7])
    matcher = FileMatcher(reference, tmp_path / "f.h5", tmp_path / "m.h5")
    assert len(matcher.match(queries, [(0, 1)])[0].xy1) == 0
    with pytest.raises(InputError, match="feature file does not have"):
        matcher.match(queries, [(0, 0)])
    _write_features(tmp_path / "few.h5", [queries[0].name])
    with pytest.raises(InputError, match=r"few\.h5 has no keypoints of"):
        FileMatcher(reference, tmp_path / "few.h5", tmp_path / "m.h5").match(queries, [(0, 0)])
    (tmp_path / "bad.h5").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"bad\.h5 is damaged or no HDF5 file"):
        FileMatcher(reference, tmp_path / "bad.h5", tmp_path / "m.h5").match(queries, [(0, 0)])


def test_pairs_keep_their_order_and_count_once(tmp_path):
    (tmp_path / "pairs.txt").write_text("q/1.jpg db/b.jpg\nq/1.jpg db/a.jpg\nq/2.jpg db/a.jpg\nq/1.jpg db/b.jpg\n")
    assert read_retrieval(tmp_path / "pairs.txt", ["db/a.jpg", "db/b.jpg"]) == {"q/1.jpg": [1, 0], "q/2.jpg": [0]}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("q.jpg a.jpg\nq.jpg typo.jpg\n", r"pairs\.txt, line 2: typo\.jpg is not an image of the map"),
        ("q.jpg a.jpg\n\nq.jpg\n", r"pairs\.txt, line 3: 'q\.jpg' is not the names"),
    ],
)
def test_a_typo_in_the_pairs_is_found_by_its_line(tmp_path, text, sentence):
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_retrieval(tmp_path / "pairs.txt", ["a.jpg"])


def test_global_features_rank_by_dot_product(courtyard, queries, tmp_path):
    reference = courtyard.reference
    rng = np.random.default_rng(0)
    wanted = [3, 0, 4, 1, 2]
    query, noise = rng.standard_normal((2, 64))
    with h5py.File(tmp_path / "global-feats-netvlad.h5", "w", libver="latest") as h5:
        h5.create_group(queries[0].name).create_dataset("global_descriptor", data=query.astype(np.float16))
        for rank, index in enumerate(wanted):
            values = query + 0.5 * (1 + rank) * noise
            h5.create_group(reference.names[index]).create_dataset(
                "global_descriptor", data=(values / np.linalg.norm(values)).astype(np.float16)
            )
    retrieval = global_retrieval(tmp_path / "global-feats-netvlad.h5", reference)
    assert retrieval.rank(queries, 3) == [wanted[:3]]
    with h5py.File(tmp_path / "global-feats-netvlad.h5", "a") as h5:
        del h5[reference.names[0]]
    with pytest.raises(InputError, match="has no global descriptor of"):
        global_retrieval(tmp_path / "global-feats-netvlad.h5", reference)
