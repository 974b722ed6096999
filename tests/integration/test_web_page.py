"""The page in a real browser: photographs are dropped, the model appears and is turned.

Needs playwright and a Chromium (DUST3R_SFM_CHROMIUM, or `chromium` on the path); DUST3R_SFM_PICTURES names a folder
that receives pictures of the page.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dust3r_sfm.synthetic.sample import sample

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("DUST3R_SFM_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
PICTURES = os.environ.get("DUST3R_SFM_PICTURES")
ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SECONDS = 180
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium")]


class Server:
    """`dust3r-sfm web` in a process of its own."""

    def __init__(self, folder: Path, truth: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.folder = folder
        arguments = [
            "--folder",
            str(folder),
            "--port",
            str(self.port),
            "--predictor",
            "oracle",
            "--weights",
            str(truth),
        ]
        self._command = [sys.executable, "-m", "dust3r_sfm.cli", "web", *arguments]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert "open" in self.process.stdout.readline()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}/"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "scene"
    sample(folder, num_views=8, size=(512, 384), seed=2)
    return folder


@pytest.fixture
def server(scene: Path, tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path / "data", scene / "truth" / "scene.h5")
    yield one
    one.process.terminate()
    assert one.process.wait(30) in (0, -signal.SIGTERM)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        one = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield one
        one.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """The page; an error in it, or a request to anywhere else, fails the test."""
    problems: list[str] = []
    one = browser.new_page(viewport={"width": 1100, "height": 1400})
    one.set_default_timeout(SECONDS * 1000)
    one.on("pageerror", lambda error: problems.append(str(error)))
    own = (server.address, "blob:", "data:")
    one.on("request", lambda request: None if request.url.startswith(own) else problems.append(request.url))
    one.goto(server.address)
    one.get_by_text("At most 1,000 files").wait_for()
    yield one
    one.close()
    assert problems == []


def drop(page: Any, files: list[Path]) -> None:
    """Let files fall on the page, as from a folder of the desktop."""
    page.evaluate("""() => {
        const hand = document.createElement('input');
        document.body.append(Object.assign(hand, {type: 'file', id: 'hand', multiple: true}));
    }""")
    page.set_input_files("#hand", files)
    page.evaluate("""() => {
        const transfer = new DataTransfer();
        const hand = document.getElementById('hand');
        for (const file of hand.files) transfer.items.add(file);
        hand.remove();
        const target = document.getElementById('drop');
        for (const kind of ['dragover', 'drop']) {
            target.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
        }
    }""")


def picture(page: Any, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


def seen(page: Any) -> np.ndarray:
    """What the frame of the model shows."""
    shot = page.locator("iframe").screenshot()
    return cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR).astype(float)


def test_photographs_are_dropped_and_the_model_is_turned(page, server, scene, tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("hello")
    started = time.monotonic()
    drop(page, [*sorted((scene / "images").iterdir()), text])
    page.get_by_role("button", name="Make the model").click()
    assert page.get_by_text("text.jpg was left out: it is not an image").is_visible()
    page.get_by_text("s left").wait_for()
    picture(page, "working")
    page.get_by_text("8 of 8 photographs").wait_for()
    frame = page.frame_locator("iframe")
    frame.locator("canvas").first.wait_for()
    time.sleep(5)
    print(f"from drop to model {time.monotonic() - started:.1f} s")
    picture(page, "done")
    before = seen(page)
    box = page.locator("iframe").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 150, y + 30, steps=10)
    page.mouse.up()
    time.sleep(2)
    turned = seen(page)
    picture(page, "turned")
    assert (np.abs(turned - before).max(axis=2) > 30).mean() > 0.01
    with page.expect_download() as download:
        page.get_by_role("link", name="model.glb").click()
    assert Path(download.value.path()).read_bytes()[:4] == b"glTF"
    page.get_by_role("button", name="Report").click()
    frame.get_by_text("8 of 8").first.wait_for()
    picture(page, "report")
    for name, width, scheme in (("phone", 390, "light"), ("dark", 1100, "dark")):
        page.set_viewport_size({"width": width, "height": 1400})
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("button", name="Model").click()
        time.sleep(4)
        picture(page, name)


def test_a_killed_server_goes_on(page, server, scene):
    drop(page, sorted((scene / "images").iterdir())[:4])
    page.get_by_role("button", name="Make the model").click()
    page.get_by_text("so far").wait_for()
    (job,) = [path for path in server.folder.iterdir() if path.is_dir()]
    while not (job / "model" / "predictions.h5").exists() and not any((job / "model").glob("predictions.h5.parts/*")):
        time.sleep(0.05)
    server.kill()
    page.get_by_text("does not answer").wait_for()
    picture(page, "offline")
    server.start()
    page.get_by_text("4 of 4 photographs").wait_for()
    assert page.get_by_text("does not answer").is_hidden()


def test_too_much_gets_a_sentence_before_it_is_sent(page, server, tmp_path):
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(2_100_000_000)  # takes no room on the disk
    drop(page, [large])
    page.get_by_text("These are 2.1 GB, and one model takes 2.0 GB here; leave some out.").wait_for()
    picture(page, "too-large")
    many = [tmp_path / f"{number}.jpg" for number in range(1001)]
    for path in many:
        path.touch()
    drop(page, many)
    page.get_by_text("These are 1,001 files, and one model takes 1,000 here; leave some out.").wait_for()
    assert [path.name for path in server.folder.iterdir()] == ["server.lock"]
