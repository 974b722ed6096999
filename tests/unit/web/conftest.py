"""A server without jobs at work, and small photographs."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from dust3r_sfm.web.server import Settings

collect_ignore_glob = [] if find_spec("fastapi") else ["test_*.py"]
"""Without the extra `web` there is nothing to test."""

WORKER = """
import json, os, sys, threading, time
from pathlib import Path
folder = Path(sys.argv[1])
say = lambda **event: print(json.dumps(event), flush=True)
threading.Thread(target=lambda: (os.read(0, 1), os._exit(9)), daemon=True).start()
(folder / "starts").open("a").write(f"{time.time()} {os.getpid()}\\n")
say(stage="predict")
say(phase="matches")
say(done=1, total=4)
while not (folder.parent / "go").exists():
    time.sleep(0.01)
mode = (folder.parent / "go").read_text()
if mode == "crash":
    sys.exit(3)
if mode == "error":
    say(error="The photographs do not overlap.")
    sys.exit(1)
run = folder / "model"
for name in ("dense/images/a.jpg", "dense/sparse/0/cameras.bin", "sparse/0/cameras.bin", "model.glb", "report.html"):
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_bytes(name.encode() * 100)
(folder / "viewer.html").write_text("<script>1</script>")
say(result={"registered": 2, "photographs": 2, "points": 5, "error_px": 0.5, "left_out": {}, "warnings": []})
"""
"""Stands in for a run: waits until it may end, then ends as the test says."""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let jobs be done by a stand-in; the file that is returned lets it end, as what is written there says."""
    from dust3r_sfm.web import runner

    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr(runner, "WORKER", (sys.executable, "-S", str(script)))
    return tmp_path / "data" / "go"


@pytest.fixture
def photograph() -> Callable[[int], bytes]:
    """JPEG files, each number another one."""

    def make(number: int) -> bytes:
        pixels = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG")
        return file.getvalue()

    return make


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A server for this machine alone, with small limits."""
    from dust3r_sfm.web.server import Settings
    from dust3r_sfm.web.uploads import Limits

    return Settings(folder=tmp_path / "data", limits=Limits(size=20_000, num_files=5))


@pytest.fixture
def client(settings: Settings, worker: Path) -> Iterator[TestClient]:
    """Somebody at the page."""
    from starlette.testclient import TestClient

    from dust3r_sfm.web.server import create_app

    with TestClient(create_app(settings), base_url="http://localhost:8090") as one:
        yield one


@pytest.fixture
def job(client: TestClient) -> str:
    """The name of a job that waits for its photographs."""
    return str(client.post("/api/jobs", json={}).json()["name"])
