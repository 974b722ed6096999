"""Local features: found at full resolution, resumed, masked, and read from other extractors' files."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from dust3r_sfm.errors import InputError
from dust3r_sfm.features.features import read_features
from dust3r_sfm.features.sift import find_features
from dust3r_sfm.types import View


@pytest.fixture
def views(tmp_path: Path) -> list[View]:
    """Two photographs of blobs whose places are known."""
    made = []
    for index in range(2):
        random = np.random.default_rng(index)
        rows, columns = np.mgrid[0:120, 0:160] + 0.5
        pixels = np.full((120, 160), 60.0)
        for x, y in BLOBS + index:
            pixels += random.uniform(80, 150) * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 4.0**2))
        path = tmp_path / "a b" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
        made.append(
            View(
                name=f"a b/{index}.png",
                path=path,
                size=(160, 120),
                orientation=1,
                network_size=(80, 60),
                network_from_image=np.diag([0.5, 0.5, 1.0]),
                focal_prior=None,
                camera_group=0,
            )
        )
    return made


BLOBS = np.array([[30.0, 30.0], [80.0, 40.0], [120.0, 90.0], [50.0, 80.0]])


def nearest(places: np.ndarray, xy: np.ndarray) -> np.ndarray:
    return np.linalg.norm(places[None] - xy[:, None], axis=-1).min(axis=1)


def test_blobs_are_found_where_they_are(views: list[View], tmp_path: Path) -> None:
    found = find_features(views, tmp_path / "features.h5")
    for index, features in enumerate(found):
        assert len(features.xy) >= 2 and nearest(BLOBS + index, features.xy).max() < 0.15
        assert np.allclose(np.linalg.norm(features.unit_descriptors(), axis=1), 1.0, atol=1e-5)
        assert np.abs(features.scores / 4.0 - 1).max() < 0.2  # the size of the blobs


def test_pictures_above_colmaps_limit_are_shrunk_and_their_keypoints_are_not(views: list[View], tmp_path: Path) -> None:
    size = (4000, 75)
    places = np.array([[500.0, 30.0], [1900.0, 40.0], [3700.0, 35.0]])
    rows, columns = np.mgrid[0:75, 0:4000] + 0.5
    blobs = sum(150 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 6.0**2)) for x, y in places)
    path = tmp_path / "wide.png"
    Image.fromarray(np.clip(60 + blobs, 0, 255).astype(np.uint8)).save(path)
    wide = replace(views[0], name="wide.png", path=path, size=size)
    (features,) = find_features([wide], tmp_path / "features.h5")
    assert nearest(features.xy, places).max() < 0.1
    assert np.abs(features.scores / 6.0 - 1).max() < 0.2


def test_only_what_is_missing_is_looked_at_again(views: list[View], tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    first = find_features(views[:1], path)
    views[0].path.unlink()
    both = find_features(views, path)
    assert np.array_equal(first[0].xy, both[0].xy) and len(both[1].xy) > 0


def test_a_photograph_without_any(views: list[View], tmp_path: Path) -> None:
    Image.new("RGB", (160, 120), "grey").save(views[0].path)
    found = find_features(views, tmp_path / "features.h5")
    assert found[0].descriptors.shape == (0, 128) and len(found[1].xy) > 0


def test_a_damaged_file_is_made_again(views: list[View], tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    wanted = find_features(views, path)
    path.write_bytes(path.read_bytes()[:600])
    again = find_features(views, path)
    assert np.array_equal(wanted[1].xy, again[1].xy)


def test_masked_keypoints_are_left_out(views: list[View], tmp_path: Path) -> None:
    usable = np.full((120, 160), 255, np.uint8)
    usable[:60] = 0
    Image.fromarray(usable).save(tmp_path / "mask.png")
    masked = [replace(view, mask=tmp_path / "mask.png") for view in views]
    for features in find_features(masked, tmp_path / "features.h5"):
        assert len(features.xy) and features.xy[:, 1].min() > 59


def test_files_of_other_extractors(views: list[View], tmp_path: Path) -> None:
    path = tmp_path / "superpoint.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group(views[0].name)
        group["keypoints"] = np.array([[10.0, 20.0], [0.0, 0.0]], np.float16)
        group["descriptors"] = np.array([[3.0, 0.0], [4.0, 1.0]], np.float16)
    found = read_features(path, views)
    assert np.array_equal(found[0].xy, [[10.5, 20.5], [0.5, 0.5]])
    assert np.allclose(found[0].unit_descriptors(), [[0.6, 0.8], [0.0, 1.0]])
    assert np.array_equal(found[0].scores, [1.0, 1.0])
    assert len(found[1].xy) == 0
    assert found[1].descriptors.shape == (0, 2)
    with h5py.File(path, "a") as file:
        del file[views[0].name]["descriptors"]
    assert len(read_features(path, views, with_descriptors=False)[0].xy) == 2
    with pytest.raises(InputError, match=r"descriptors of a b/0.png"):
        read_features(path, views)
    path.write_text("no HDF5")
    with pytest.raises(InputError, match="superpoint"):
        read_features(path, views)


def test_a_photograph_that_was_replaced_is_looked_at_again(views: list[View], tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    first = find_features(views, path)
    Image.open(views[0].path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(views[0].path)
    again = find_features(views, path)
    assert not np.array_equal(first[0].xy, again[0].xy) and np.array_equal(first[1].xy, again[1].xy)
