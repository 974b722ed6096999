"""A run that is killed in any stage goes on with the same command, and loses nothing that was finished."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dust3r_sfm.system._pycolmap import pycolmap

MOMENTS = {
    "pairs": lambda out: (out / "run.json").exists(),
    "predict": lambda out: any((out / "predictions.h5.parts").glob("*.h5")),
    "align": lambda out: (out / "predictions.h5").exists(),
    "export": lambda out: (out / "scene.h5").exists(),
    "model": lambda out: (out / "sparse").exists(),
    "dense": lambda out: (out / "database.db").exists(),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed(sample_folder: Path, tmp_path: Path, moment: str) -> None:
    out, photos = tmp_path / "out", tmp_path / "photos"
    photos.mkdir()
    for path in sorted((sample_folder / "images").iterdir())[:4]:
        shutil.copy(path, photos)
    weights = str(sample_folder / "truth" / "scene.h5")
    arguments = [
        "reconstruct",
        str(photos),
        str(out),
        "--predictor",
        "oracle",
        "--weights",
        weights,
        "--refine",
        "none",
    ]
    command = [sys.executable, "-m", "dust3r_sfm.cli", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and not MOMENTS[moment](out) and time.monotonic() < deadline:
        time.sleep(0.0005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    finished = {path: path.stat().st_mtime_ns for path in (out / "predictions.h5", out / "scene.h5") if path.exists()}

    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert pycolmap.Reconstruction(str(out / "sparse" / "0")).num_images() == 4
    if moment in ("model", "dense"):
        assert finished == {path: path.stat().st_mtime_ns for path in finished}
    assert not list(out.glob("**/.*.tmp")), "temporary files of the killed run are still there"
