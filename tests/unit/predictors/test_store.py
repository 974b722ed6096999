import errno
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from dust3r_sfm.errors import InputError, OutputError
from dust3r_sfm.predictors import store as store_module
from dust3r_sfm.predictors.store import PredictionStore, PredictionWriter, StoreHeader, check_disk, estimated_size

HEADER = StoreHeader(predictor="made-up", licence="MIT", fingerprint="abc")
NAMES = ("a b.jpg", "left/c%d.jpg", "left/ü.jpg", "z.jpg")


def _write(path: Path, make_prediction, edges, header=HEADER):
    with PredictionWriter(path, NAMES, header) as writer:
        for edge in edges:
            writer.add(edge, make_prediction(seed=10 * edge[0] + edge[1]))


def _assert_right(store, make_prediction):
    for i, j in store:
        expected = make_prediction(seed=10 * i + j)
        np.testing.assert_allclose(store[i, j].points1, expected.points1, rtol=6e-4, atol=1e-5)
        np.testing.assert_allclose(store[i, j].confidence2, expected.confidence2, rtol=6e-4)


def test_round_trip_with_awkward_names(tmp_path, make_prediction):
    edges = [(2, 1), (0, 3), (0, 1), (3, 0)]
    _write(tmp_path / "p.h5", make_prediction, edges)
    store = PredictionStore(tmp_path / "p.h5", NAMES)
    assert store.edges() == sorted(edges) == list(store) and len(store) == 4
    assert (0, 3) in store and (1, 0) not in store
    assert store.header == HEADER
    _assert_right(store, make_prediction)
    with h5py.File(tmp_path / "p.h5") as file:
        assert "left%2F%C3%BC.jpg/left%2Fc%25d.jpg/points1" in file


def test_edges_follow_the_order_of_names(tmp_path, make_prediction):
    _write(tmp_path / "p.h5", make_prediction, [(0, 3), (1, 2)])
    assert PredictionStore(tmp_path / "p.h5", (NAMES[3], NAMES[0])).edges() == [(1, 0)]


def test_a_store_that_is_not_there_is_empty(tmp_path):
    assert len(PredictionStore(tmp_path / "p.h5", NAMES)) == 0


def test_a_later_run_adds_to_the_file(tmp_path, make_prediction):
    _write(tmp_path / "p.h5", make_prediction, [(0, 1), (0, 2)])
    _write(tmp_path / "p.h5", make_prediction, [(0, 3), (1, 0)])
    store = PredictionStore(tmp_path / "p.h5", NAMES)
    assert store.edges() == [(0, 1), (0, 2), (0, 3), (1, 0)]
    _assert_right(store, make_prediction)
    assert [file.name for file in tmp_path.iterdir()] == ["p.h5"]


def test_shards_and_their_parts_are_joined(tmp_path, make_prediction):
    _write(tmp_path / "p.0of2.h5", make_prediction, [(0, 1)])
    _write(tmp_path / "p.1of2.h5", make_prediction, [(1, 0)])
    with pytest.raises(KeyboardInterrupt), PredictionWriter(tmp_path / "p.2of2.h5", NAMES, HEADER) as writer:
        writer.add((2, 3), make_prediction(seed=23))
        raise KeyboardInterrupt
    store = PredictionStore(tmp_path / "p.h5", NAMES)
    assert store.edges() == [(0, 1), (1, 0), (2, 3)]
    _assert_right(store, make_prediction)


def test_an_interrupted_run_keeps_everything(tmp_path, make_prediction):
    with pytest.raises(KeyboardInterrupt), PredictionWriter(tmp_path / "p.h5", NAMES, HEADER) as writer:
        writer.add((0, 1), make_prediction(seed=1))
        raise KeyboardInterrupt
    assert PredictionStore(tmp_path / "p.h5", NAMES).edges() == [(0, 1)]
    _write(tmp_path / "p.h5", make_prediction, [(0, 2)])
    assert PredictionStore(tmp_path / "p.h5", NAMES).edges() == [(0, 1), (0, 2)]


def test_another_run_is_refused(tmp_path, make_prediction):
    _write(tmp_path / "p.h5", make_prediction, [(0, 1)])
    other = StoreHeader(predictor="made-up", licence="MIT", fingerprint="other")
    with pytest.raises(InputError, match=r"p\.h5 holds predictions of another run"):
        PredictionStore(tmp_path / "p.h5", NAMES, other)
    _write(tmp_path / "p.1of2.h5", make_prediction, [(0, 1)], other)
    with pytest.raises(InputError, match="another run"):
        PredictionStore(tmp_path / "p.h5", NAMES)


def test_damaged_and_foreign_files_are_named(tmp_path, make_prediction):
    path = tmp_path / "p.h5"
    path.write_bytes(b"not HDF5")
    with pytest.raises(InputError, match=r"p\.h5 is damaged or no file of predictions; delete it"):
        PredictionStore(path, NAMES)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match=r"p\.h5 holds no predictions"):
        PredictionStore(path, NAMES)
    path.unlink()
    _write(path, make_prediction, [(0, 1), (1, 0)])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(InputError, match=r"p\.h5 is damaged"):
        PredictionStore(path, NAMES)


def test_threads_may_read(tmp_path, make_prediction):
    edges = [(i, j) for i in range(4) for j in range(4) if i != j]
    _write(tmp_path / "p.h5", make_prediction, edges)
    store = PredictionStore(tmp_path / "p.h5", NAMES)
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda edge: float(store[edge].points1.sum()), edges * 5))
    assert sums == [float(store[edge].points1.sum()) for edge in edges] * 5
    store.close()
    assert store[edges[0]].points1.shape == (24, 32, 3)


def test_many_parts_need_few_open_files(tmp_path, make_prediction, monkeypatch):
    monkeypatch.setattr(store_module, "MAX_PART_BYTES", 1)
    monkeypatch.setattr(store_module, "MAX_OPEN_FILES", 2)
    edges = [(i, j) for i in range(4) for j in range(4) if i != j]
    with pytest.raises(KeyboardInterrupt), PredictionWriter(tmp_path / "p.h5", NAMES, HEADER) as writer:
        for i, j in edges:
            writer.add((i, j), make_prediction(seed=10 * i + j))
        raise KeyboardInterrupt
    assert len(list((tmp_path / "p.h5.parts").iterdir())) == 12
    store = PredictionStore(tmp_path / "p.h5", NAMES)
    assert store.edges() == edges
    _assert_right(store, make_prediction)


def test_a_full_disk_is_one_sentence_and_keeps_what_is_there(tmp_path, make_prediction, monkeypatch):
    monkeypatch.setattr(store_module, "MAX_PART_BYTES", 1)
    write_bytes = Path.write_bytes

    def fill_up(self, data):
        if len(list((tmp_path / "p.h5.parts").glob("*.h5"))) == 2:
            write_bytes(self, bytes(data)[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    with pytest.raises(OutputError, match="disk is full"):
        _write(tmp_path / "p.h5", make_prediction, [(0, 1), (0, 2), (0, 3)])
    store = PredictionStore(tmp_path / "p.h5", NAMES)
    assert store.edges() == [(0, 1), (0, 2)]
    _assert_right(store, make_prediction)


def test_parts_stay_where_the_disk_cannot_hold_a_copy(tmp_path, make_prediction, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    _write(tmp_path / "p.h5", make_prediction, [(0, 1), (0, 2)])
    assert not (tmp_path / "p.h5").exists()
    assert PredictionStore(tmp_path / "p.h5", NAMES).edges() == [(0, 1), (0, 2)]


CHILD = """
    import sys
    from pathlib import Path
    import numpy as np
    from dust3r_sfm.predictors import store
    from dust3r_sfm.types import PairPrediction

    store.MAX_PART_BYTES = 300_000
    names = [f"{i}.jpg" for i in range(100)]
    header = store.StoreHeader(predictor="p", licence="MIT", fingerprint="f")
    path = Path(sys.argv[1])
    known = store.PredictionStore(path, names, header)
    with store.PredictionWriter(path, names, header) as writer:
        for j in range(1, int(sys.argv[2])):
            if (0, j) in known:
                continue
            points = np.random.default_rng(j).standard_normal((60, 80, 3)).astype(np.float32)
            twos = np.full((60, 80), 2, np.float32)
            writer.add((0, j), PairPrediction(points1=points, confidence1=twos, points2=points, confidence2=twos))
            print(j, flush=True)
        print("merging", flush=True)
"""


def test_a_killed_run_is_resumed(tmp_path):
    """Kill -9 a writing process at several moments, the joining of the parts among them, and go on each time."""
    path, names, num_before = tmp_path / "p.h5", [f"{i}.jpg" for i in range(100)], 0
    for last_words, delay in (("12", 0.0), ("31", 0.002), ("merging", 0.003), ("merging", 0.0)):
        command = [sys.executable, "-c", textwrap.dedent(CHILD), str(path), "60"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            for line in child.stdout:
                if line.strip() == last_words:
                    time.sleep(delay)
                    child.send_signal(signal.SIGKILL)
                    break
        store = PredictionStore(path, names)
        assert num_before <= len(store) and (num_before or last_words != "31" or len(store))
        num_before = len(store)
        for _, j in store:
            expected = np.random.default_rng(j).standard_normal((60, 80, 3))
            np.testing.assert_allclose(store[0, j].points2, expected, rtol=1e-3, atol=1e-6)
    subprocess.run([sys.executable, "-c", textwrap.dedent(CHILD), str(path), "60"], check=True, capture_output=True)
    assert PredictionStore(path, names).edges() == [(0, j) for j in range(1, 60)]
    assert path.is_file()


def test_the_estimate_bounds_the_file(tmp_path, known_scene, make_prediction):
    images = known_scene[2]
    sizes = {view.network_size for view in images.views}
    assert sizes == {(64, 48), (48, 64)}
    with PredictionWriter(tmp_path / "p.h5", images.names, HEADER) as writer:
        for i, first in enumerate(images.views):
            writer.add((i, (i + 1) % 7), make_prediction(*first.network_size))
    size, bound = (tmp_path / "p.h5").stat().st_size, estimated_size(images, 7)
    assert bound / 2 < size < bound


def test_a_disk_too_small_is_refused_before_the_run(tmp_path):
    check_disk(tmp_path / "not" / "yet" / "p.h5", 1000)
    with pytest.raises(OutputError, match=r"p\.h5 would take up to 1000000000000\.0 GB"):
        check_disk(tmp_path / "p.h5", 10**21)
