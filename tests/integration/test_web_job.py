"""A job of the page from photographs to downloads, by the process that really does it."""

import io
import json
import re
import subprocess
import time
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra `web` is not installed")
from starlette.testclient import TestClient

from dust3r_sfm.options import PredictorOptions
from dust3r_sfm.synthetic.sample import sample
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.web.job import read_job
from dust3r_sfm.web.runner import WORKER
from dust3r_sfm.web.server import Settings, create_app

SECONDS = 240.0


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job") / "scene"
    sample(folder, num_views=4, size=(256, 192), seed=3)
    return folder


@pytest.fixture
def settings(scene: Path, tmp_path: Path) -> Settings:
    predictor = PredictorOptions(predictor="oracle", weights=str(scene / "truth" / "scene.h5"))
    return Settings(folder=tmp_path / "data", predictor=predictor)


def send(client, scene):
    job = client.post("/api/jobs", json={}).json()["name"]
    for path in sorted((scene / "images").iterdir()):
        answer = client.put(f"/api/jobs/{job}/files", params={"file": path.name}, content=path.read_bytes())
        assert answer.status_code == 201
    client.post(f"/api/jobs/{job}/start")
    return job


def wait(client, job, *states):
    end = time.monotonic() + SECONDS
    while True:
        (shown,) = [one for one in client.get("/api/jobs").json()["jobs"] if one["name"] == job]
        if shown["state"] in states:
            return shown
        assert time.monotonic() < end, shown
        time.sleep(0.05)


@pytest.mark.slow
def test_from_photographs_to_downloads(settings, scene, tmp_path):
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        job = send(client, scene)
        while not list((settings.folder / job).glob("model/predictions.h5*")):
            time.sleep(0.02)
        client.post(f"/api/jobs/{job}/cancel")
        wait(client, job, "cancelled")
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        client.post(f"/api/jobs/{job}/start")
        shown = wait(client, job, "done", "failed")
        log = (settings.folder / job / "log.txt").read_text()
        assert shown["state"] == "done", f"{shown['sentence']}\n{log}"
        assert (shown["result"]["registered"], shown["result"]["photographs"]) == (4, 4)
        assert shown["result"]["error_px"] < 1

        def get(name):
            return client.get(f"/jobs/{job}/{name}").content

        folder = tmp_path / "unpacked"
        zipfile.ZipFile(io.BytesIO(get("colmap.zip"))).extractall(folder)
        for model in ("sparse/0", "as_taken/sparse/0"):
            assert pycolmap.Reconstruction(str(folder / model)).num_images() == 4
        assert len(list((folder / "images").iterdir())) == 4
        with zipfile.ZipFile(io.BytesIO(get("nerfstudio.zip"))) as archive:
            frames = json.loads(archive.read("transforms.json"))["frames"]
            assert {frame["file_path"] for frame in frames} <= set(archive.namelist())
        assert get("model.glb").startswith(b"glTF")
        assert get("points.ply").startswith(b"ply")
        viewer = get("viewer.html").decode()
        assert "__VISER_EMBED_DATA__" in viewer and "matchMedia(" in viewer
        assert re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"https?:", viewer) == []
        assert "4 of 4" in get("report.html").decode()


def test_errors_come_as_sentences_without_paths(settings, tmp_path):
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        other = tmp_path / "other"
        sample(other, num_views=2, size=(128, 96), seed=9)
        for path in (other / "images").iterdir():
            path.rename(path.with_name(f"stranger_{path.name}"))
        shown = wait(client, send(client, other), "failed")
        assert shown["sentence"].endswith(".")
        assert str(settings.folder) not in shown["sentence"]
        assert "unexpected" not in shown["sentence"]


def test_a_run_ends_with_its_server(settings, scene):
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        job = send(client, scene)
        client.post(f"/api/jobs/{job}/cancel")
    folder = settings.folder / job
    assert read_job(folder).state == "cancelled"
    process = subprocess.Popen([*WORKER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdin is not None
    assert b"stage" in process.stdout.readline()
    process.stdin.close()  # as when the server is killed
    process.stdout.read()
    assert process.wait(20) < 0
