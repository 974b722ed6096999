"""Other sites and other machines stay outside."""

from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from dust3r_sfm.web.gate import is_known_host
from dust3r_sfm.web.server import create_app


@pytest.mark.parametrize("host", ["localhost:8090", "127.0.0.1:8090", "[::1]:8090", "localhost"])
def test_this_machine_may_come(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8090", "localhost.evil.example", "10.0.0.7", "", "["])
def test_names_of_others_are_refused(client, host):
    """A name that a stranger has pointed to this machine (DNS rebinding)."""
    answer = client.get("/", headers={"Host": host})
    assert answer.status_code == 421
    assert "does not answer to that name" in answer.json()["sentence"]


def test_hosts_of_an_open_server(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "Lab.institute.example")
    for host in ("10.0.0.7:8090", "[fe80::1]", "lab.institute.example", "lab.local:1", "localhost", "10.1.1.1"):
        assert is_known_host(host, "0.0.0.0"), host
    assert not is_known_host("evil.example", "0.0.0.0")
    assert is_known_host("sfm.example:8090", "sfm.example")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_change_nothing(client, job, headers):
    for method, address in (("POST", "/api/jobs"), ("DELETE", f"/api/jobs/{job}")):
        assert client.request(method, address, headers=headers).status_code == 403
    assert len(client.get("/api/jobs").json()["jobs"]) == 1


def test_the_page_itself_may(client):
    own = {"Origin": "http://localhost:8090", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/jobs", json={}, headers=own).status_code == 201


@pytest.fixture
def guarded(settings, worker):
    app = create_app(replace(settings, host="0.0.0.0", token="secret-token"))
    with TestClient(app, base_url="http://192.168.0.5:8090", follow_redirects=False) as one:
        yield one


def test_without_the_token_nothing_is_told(guarded):
    for address in (
        "/",
        "/page.js",
        "/api/jobs",
        "/?token=wrong",
        "/jobs/a/report.html",
        "/api/jobs?token=secret-token",
    ):
        answer = guarded.get(address)
        assert answer.status_code == 403, address
        assert "with its token" in answer.json()["sentence"]
    assert guarded.post("/api/jobs", json={}).status_code == 403


def test_the_token_leaves_the_address(guarded):
    entry = guarded.get("/?token=secret-token")
    assert (entry.status_code, entry.headers["location"]) == (303, "/")
    cookie = entry.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert guarded.get("/").status_code == 200
    assert guarded.get("/api/jobs").json()["jobs"] == []
    guarded.cookies.set("dust3r_sfm_8090", "wrong")


def test_what_is_not_there_gets_a_sentence(client):
    for method, address in (("GET", "/a/b/c"), ("GET", "/docs"), ("GET", "/openapi.json"), ("PATCH", "/api/jobs")):
        answer = client.request(method, address)
        assert answer.status_code in (404, 405)
        assert answer.json()["sentence"]


def test_every_answer_forbids_what_the_page_does_not_need(client):
    for address in ("/", "/page.js", "/api/jobs", "/nothing"):
        headers = client.get(address).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
