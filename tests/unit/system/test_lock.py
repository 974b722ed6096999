"""One run at a time on one output; what a kill leaves behind does not block the next."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dust3r_sfm.errors import OutputError
from dust3r_sfm.system.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from dust3r_sfm.system.lock import locked
with locked(Path(sys.argv[1]), shared=len(sys.argv) > 2):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path, *words: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path), *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_told_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = holder(out)
    try:
        with pytest.raises(OutputError, match=r"Another run is at work on .*out"), locked(out):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with locked(out), locked(out):
        (out / "file").touch()


def test_shards_share_a_folder(tmp_path: Path) -> None:
    process = holder(tmp_path, "shared")
    try:
        with locked(tmp_path, shared=True):
            pass
        with pytest.raises(OutputError, match="Another run"), locked(tmp_path):
            pass
    finally:
        process.kill()
        process.wait()


def test_a_run_that_fails_at_once_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "out"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_folder_below_a_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="file is a file; choose another output folder"),
        locked(tmp_path / "file/out"),
    ):
        pass
