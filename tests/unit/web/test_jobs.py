"""Jobs run one after the other, end when they are told to, and survive their server."""

import io
import os
import time
import zipfile
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from dust3r_sfm import web
from dust3r_sfm.errors import InputError
from dust3r_sfm.web.server import create_app


def state(client, job):
    return next(one for one in client.get("/api/jobs").json()["jobs"] if one["name"] == job)


def wait(client, job, *states, seconds=20.0):
    end = time.monotonic() + seconds
    while (shown := state(client, job))["state"] not in states:
        assert time.monotonic() < end, shown
        time.sleep(0.01)
    return shown


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def started(client, photograph):
    """Make a job of two photographs and start it."""

    def make():
        job = client.post("/api/jobs", json={}).json()["name"]
        for number in range(2):
            client.put(f"/api/jobs/{job}/files", params={"file": f"{number}.jpg"}, content=photograph(number))
        assert client.post(f"/api/jobs/{job}/start").json()["state"] in ("queued", "running")
        return job

    return make


def starts(settings, job):
    path = settings.folder / job / "starts"
    return path.read_text().splitlines() if path.exists() else []


def test_a_job_tells_where_it_stands_and_ends(client, started, worker):
    job = started()
    wait_for(lambda: (state(client, job)["standing"] or {}).get("total") == 4)
    standing = state(client, job)["standing"]
    assert (standing["stage"], standing["phase"], standing["done"]) == ("predict", "matches", 1)
    worker.write_text("done")
    shown = wait(client, job, "done")
    assert shown["result"]["registered"] == 2
    assert [one["name"] for one in shown["downloads"]] == ["colmap.zip", "model.glb", "report.html", "viewer.html"]


def test_one_after_the_other(client, started, settings, worker):
    first, second = started(), started()
    wait_for(lambda: starts(settings, first))
    assert state(client, second)["state"] == "queued"
    assert starts(settings, second) == []
    worker.write_text("done")
    wait(client, second, "done")
    assert wait(client, first, "done")["state"] == "done"


def test_cancelled_and_resumed(client, started, settings, worker):
    job = started()
    wait_for(lambda: starts(settings, job))
    assert client.post(f"/api/jobs/{job}/cancel").json()["state"] == "cancelled"
    pid = int(starts(settings, job)[0].split()[1])
    wait_for(lambda: not is_alive(pid))
    assert client.post(f"/api/jobs/{job}/cancel").status_code == 409
    assert state(client, job)["state"] == "cancelled"
    worker.write_text("done")
    client.post(f"/api/jobs/{job}/start")
    wait(client, job, "done")
    assert len(starts(settings, job)) == 2


def test_a_queued_job_is_cancelled_without_ever_running(client, started, settings, worker):
    first, second = started(), started()
    wait_for(lambda: starts(settings, first))
    client.post(f"/api/jobs/{second}/cancel")
    worker.write_text("done")
    wait(client, first, "done")
    assert state(client, second)["state"] == "cancelled"
    assert starts(settings, second) == []


def test_errors_are_sentences(client, started, worker, settings):
    worker.write_text("error")
    job = started()
    assert wait(client, job, "failed")["sentence"] == "The photographs do not overlap."
    worker.write_text("crash")
    client.post(f"/api/jobs/{job}/start")
    wait_for(lambda: len(starts(settings, job)) == 2)
    assert "exit code 3" in wait(client, job, "failed")["sentence"]


def test_a_restarted_server_goes_on(settings, photograph, worker):
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        names = []
        for _ in range(2):
            names.append(client.post("/api/jobs", json={}).json()["name"])
            for number in range(2):
                client.put(f"/api/jobs/{names[-1]}/files", params={"file": f"{number}.jpg"}, content=photograph(number))
            client.post(f"/api/jobs/{names[-1]}/start")
        waiting = client.post("/api/jobs", json={}).json()["name"]
        wait_for(lambda: starts(settings, names[0]))
        pid = int(starts(settings, names[0])[0].split()[1])
    assert not is_alive(pid)
    (settings.folder / "20260101-000000-00000000").mkdir()  # of another version, or half deleted
    worker.write_text("done")
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        for name in names:
            wait(client, name, "done")
        assert state(client, waiting)["state"] == "receiving"
    assert [len(starts(settings, name)) for name in names] == [2, 1]


def test_a_folder_has_one_server(client, settings):
    with pytest.raises(InputError, match="Another dust3r-sfm web serves"):
        create_app(settings)


def test_deleted_jobs_leave_nothing(client, started, settings, worker):
    worker.write_text("done")
    job = started()
    wait(client, job, "done")
    assert client.delete(f"/api/jobs/{job}").status_code == 200
    assert not (settings.folder / job).exists()
    assert client.delete(f"/api/jobs/{job}").status_code == 404


def test_downloads(client, started, settings, worker):
    job = started()
    assert client.get(f"/jobs/{job}/model.glb").status_code == 404
    worker.write_text("done")
    wait(client, job, "done")
    glb = client.get(f"/jobs/{job}/model.glb")
    assert glb.content == b"model.glb" * 100
    assert "attachment" in glb.headers["content-disposition"]
    outside = settings.folder / "secret.jpg"
    outside.write_text("secret")
    (settings.folder / job / "model" / "dense" / "images" / "link.jpg").symlink_to(outside)
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/jobs/{job}/colmap.zip").content))
    assert archive.testzip() is None
    assert archive.namelist() == ["images/a.jpg", "sparse/0/cameras.bin", "as_taken/sparse/0/cameras.bin"]
    assert archive.read("images/a.jpg") == b"dense/images/a.jpg" * 100
    for name in ("job.json", "log.txt", "mesh.ply", "..%2fjob.json", "%2e%2e", "model%2fmodel.glb"):
        assert client.get(f"/jobs/{job}/{name}").status_code == 404, name
    for name in ("..", "%2e%2e", "20260101-000000-00000000"):
        assert client.get(f"/jobs/{name}/report.html").status_code == 404, name


def test_what_a_job_made_is_shown_as_a_stranger(client, started, worker):
    worker.write_text("done")
    job = started()
    wait(client, job, "done")
    for name in ("viewer.html", "report.html"):
        shown = client.get(f"/jobs/{job}/{name}?show=true")
        assert "attachment" not in shown.headers.get("content-disposition", "")
        assert shown.headers["content-security-policy"].startswith(
            "sandbox allow-scripts allow-popups; default-src 'none'"
        )


def test_no_path_of_the_server_is_told(client, started, worker, settings):
    worker.write_text("done")
    wait(client, started(), "done")
    assert str(settings.folder) not in client.get("/api/jobs").text


@pytest.mark.parametrize("wishes", [{"num_frames": 1}, {"num_frames": "many"}, {"dense": "x"}, []])
def test_wishes_are_checked(client, wishes):
    answer = client.post("/api/jobs", json=wishes)
    assert answer.status_code == 422
    assert answer.json()["sentence"]


def test_the_page_names_no_address_outside():
    page = Path(web.__file__).parent / "page"
    for path in page.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "//" not in text.replace("// ", ""), path.name


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
