"""report.html: everything a reader needs is on the page, and the page needs nothing else."""

import base64
import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from dust3r_sfm.report import write_report
from dust3r_sfm.report.model import read_drawn
from dust3r_sfm.scene_file import read_scene, write_scene


class Page(HTMLParser):
    """Texts, addresses and classes of a page, and whether its tags close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts, self.addresses, self.classes, self.open = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.addresses += [found[name] for name in ("src", "href") if name in found]
        self.classes += [(tag, found.get("class", ""))]
        if tag not in ("meta", "img", "line", "path", "circle", "image"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in ("meta", "img", "line", "path", "circle", "image"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def page(oracle_run):
    out, _ = oracle_run
    return Page((out / "report.html").read_text(encoding="utf-8"))


def decoded(address: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(address.split(",", 1)[1]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def test_the_page_is_whole_and_needs_no_other_file(page):
    assert not page.open
    assert page.addresses and all(address.startswith("data:image/") for address in page.addresses)
    for address in page.addresses:
        assert decoded(address) is not None


def test_every_photograph_has_its_three_pictures_and_its_place_in_the_graph(oracle_run, page):
    _, summary = oracle_run
    jpegs = [address for address in page.addresses if address.startswith("data:image/jpeg")]
    assert len(jpegs) == 3 * len(summary.registered)
    assert sum(kind == ("circle", "node") for kind in page.classes) == len(summary.registered)
    text = " ".join(page.texts)
    assert all(name in text for name in summary.registered)
    assert "6 of 6 photographs" in text


def test_the_three_sides_show_the_points(page):
    sides = [decoded(address) for address in page.addresses if address.startswith("data:image/png")]
    assert len(sides) == 3
    for side in sides:
        assert 0.005 < (side.min(axis=2) < 250).mean() < 0.9


def test_weak_places_and_left_out_photographs_are_marked(oracle_run, tmp_path):
    out, _ = oracle_run
    weak = tmp_path / "weak"
    shutil.copytree(out, weak, ignore=shutil.ignore_patterns("predictions.h5", "dense"))
    scene = read_scene(out / "scene.h5")
    hanging = (scene.edges == 5).any(axis=1) & ~(scene.edges == 4).any(axis=1)
    write_scene(weak / "scene.h5", replace(scene, edge_weights=np.where(hanging, 0.0, scene.edge_weights)))
    record = json.loads((weak / "run.json").read_text())
    record["summary"]["dropped"] = {"<b>.jpg": "it is blurred & dark"}
    record["summary"]["warnings"] = ["view_005 hangs on a single pair."]
    (weak / "run.json").write_text(json.dumps(record))

    page = Page(write_report(weak).read_text(encoding="utf-8"))
    text = " ".join(page.texts)
    assert "<b>.jpg" in text and "it is blurred & dark" in text
    assert "view_005 hangs on a single pair." in text
    assert page.classes.count(("circle", "node weak")) == 1
    assert page.classes.count(("line", "critical")) == 1
    assert page.classes.count(("div", "card weak")) == 1


def test_photographs_that_moved_away_leave_their_maps(oracle_run, tmp_path):
    out, summary = oracle_run
    moved = tmp_path / "moved"
    shutil.copytree(out, moved, ignore=shutil.ignore_patterns("predictions.h5", "dense"))
    scene = read_scene(out / "scene.h5")
    write_scene(moved / "scene.h5", replace(scene, image_root=tmp_path / "gone"))
    page = Page(write_report(moved).read_text(encoding="utf-8"))
    jpegs = [address for address in page.addresses if address.startswith("data:image/jpeg")]
    assert len(jpegs) == 2 * len(summary.registered)


def test_up_is_the_top_of_the_upright_photographs(oracle_run):
    """The files of a phone held upright lie on their side; the model must not."""
    out, _ = oracle_run
    scene = read_scene(out / "scene.h5")
    level = read_drawn(out / "sparse" / "0", scene).level_from_world()
    turn = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 480.0], [0.0, 0.0, 1.0]])
    views = [replace(view, network_from_image=view.network_from_image @ turn) for view in scene.views]
    lying = replace(scene, views=tuple(views))
    right, forward, up = read_drawn(out / "sparse" / "0", lying).level_from_world()
    assert np.degrees(np.arccos(up @ level[2])) == pytest.approx(90, abs=15)
    np.testing.assert_allclose(np.cross(right, forward), up, atol=1e-9)
