import errno
import io
import os
import re
import subprocess
import sys
import time

import pytest

from dust3r_sfm.errors import InputError
from dust3r_sfm.system import stage_display
from dust3r_sfm.system.progress import phase
from dust3r_sfm.system.terminal import Terminal, run_command


def call(command):
    return run_command(command, [], prog="prog", description="")


def test_our_error_is_one_sentence_and_code_1(capsys):
    def command() -> None:
        raise InputError("photos is empty; put photographs there.")

    assert call(command) == 1
    assert capsys.readouterr().err == "prog: photos is empty; put photographs there.\n"


def test_full_disk_anywhere_is_a_sentence(capsys):
    def command() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "model.bin")

    assert call(command) == 1
    assert "disk is full" in capsys.readouterr().err


def test_bugs_keep_their_traceback():
    def command() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call(command)


def test_interrupt_says_how_to_go_on(capsys):
    def command() -> None:
        raise KeyboardInterrupt

    assert call(command) == 130
    assert "same command" in capsys.readouterr().err


def test_stages_are_lines_when_nobody_watches(capsys):
    with Terminal().stage("predict") as step:
        step(1, 2)
        step(2, 2)
    assert re.fullmatch(r"predict  \d+\.\d s\n", capsys.readouterr().err)


def test_long_stages_say_where_they_are(capsys, monkeypatch):
    monkeypatch.setattr(stage_display, "_LINE_SECONDS", 0.05)
    with Terminal().stage("predict") as step:
        phase("keypoints")
        time.sleep(0.12)
        phase("pointmaps")
        step(1, 4)
        time.sleep(0.12)
    first, *others = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"predict  keypoints, \d+ s", first)
    assert any(re.fullmatch(r"predict  pointmaps, 1 of 4, \d+ s, about \d+ s left", line) for line in others)


def test_phases_outside_a_stage_are_nobodys_business(capsys):
    phase("keypoints")
    assert capsys.readouterr().err == ""


def test_bars_move_on_a_terminal(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(stage_display, "_REFRESH_SECONDS", 0.05)
    with Terminal().stage("export") as step:
        phase("matches")
        step(3, 5)
        time.sleep(0.12)
        phase("points")
    assert terminal.getvalue().rstrip().endswith(" 00:00")
    shown = terminal.getvalue()
    assert "export   matches" in shown
    assert "3 of 5" in shown
    assert "export   points" in shown


def test_a_locale_that_lacks_a_sign_ends_no_run():
    program = r"""
import sys
from dust3r_sfm.system.terminal import run_command
def command() -> None:
    print("Stra\u00dfe, 12\u00b0")
sys.exit(run_command(command, [], prog="prog", description=""))
"""
    environment = os.environ | {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"Stra\\xdfe, 12\\xb0\n"


def test_a_stage_loads_pycolmap_where_its_handler_of_signals_can_be_undone():
    """Its log takes SIGTERM when it is imported, on the main thread or not; Python puts handlers back on that alone."""
    program = (
        "import sys; from dust3r_sfm.system import signals; from dust3r_sfm.system.terminal import Terminal\n"
        "signals.catch()\n"
        "assert 'pycolmap' not in sys.modules\n"
        "with Terminal().stage('predict'):\n"
        "    assert 'pycolmap' in sys.modules and signals.is_caught()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
