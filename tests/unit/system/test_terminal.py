import errno
import os
import subprocess
import sys

import pytest

from dust3r_sfm import __version__
from dust3r_sfm.cli import main
from dust3r_sfm.errors import InputError
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
    assert capsys.readouterr().err.startswith("predict  2 steps, ")


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dust3r-sfm {__version__}\n"


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
