"""The viewer serves a run, and its depth maps stand where the truth says."""

import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace

import numpy as np
import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.geometry.transforms import apply
from dust3r_sfm.scene_file import read_scene
from dust3r_sfm.viewing import depth_points, open_viewer


def test_the_browser_gets_a_page_with_every_camera(oracle_run):
    pytest.importorskip("viser")
    out, summary = oracle_run
    server = open_viewer(out, port=18080)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.get_port()}", timeout=20) as answer:
            assert b"<html" in answer.read().lower()
        nodes = server.scene._handle_from_node_name
        assert {f"/cameras/{name}" for name in summary.registered} <= nodes.keys()
        assert "/points" in nodes
    finally:
        server.stop()


def test_depth_points_reproject_to_their_pixels(oracle_run):
    out, _ = oracle_run
    scene = read_scene(out / "scene.h5")
    rising = np.arange(scene.depths[0].size, dtype=np.float32).reshape(scene.depths[0].shape) + 1
    scene = replace(scene, confidences=(rising, *scene.confidences[1:]))
    xyz, rgb = depth_points(scene, 0, percentile=50.0)
    num_known = int((scene.depths[0] > 0).sum())
    assert len(xyz) == len(rgb) == pytest.approx(num_known / 2, abs=1)
    in_camera = apply(scene.cam_from_world[0], xyz)
    pixels = in_camera @ scene.intrinsics[0].T
    pixels = pixels[:, :2] / pixels[:, 2:]
    row, column = pixels[:, 1].astype(int), pixels[:, 0].astype(int)
    np.testing.assert_allclose(scene.depths[0][row, column], in_camera[:, 2], rtol=1e-5)


def test_without_viser_the_remedy_is_named(oracle_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(InputError, match=r"dust3r_sfm\[view\]"):
        open_viewer(oracle_run[0])


def test_ctrl_c_ends_the_viewer_quietly(oracle_run):
    pytest.importorskip("viser")
    command = [sys.executable, "-m", "dust3r_sfm.cli", "view", str(oracle_run[0]), "--port", "18090"]
    viewer = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell has it ignored
    )
    assert viewer.stdout is not None and any(line.startswith("over ssh") for line in viewer.stdout)
    viewer.send_signal(signal.SIGINT)
    _, errors = viewer.communicate(timeout=60)
    assert viewer.returncode == 0 and errors == ""
