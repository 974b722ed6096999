"""A program that is asked to end says so, once, whatever it was doing."""

import contextlib
import signal
import subprocess
import sys
import time

import pytest

from dust3r_sfm.system import signals
from dust3r_sfm.system.terminal import run_command

PROGRAM = """
import sys, time
from dust3r_sfm.system._pycolmap import pycolmap
from dust3r_sfm.system.terminal import run_command
def command() -> None:
    from dust3r_sfm.system._pycolmap import quiet
    with quiet():
        print("ready", flush=True)
        try:
            time.sleep(60)
        except BaseException as error:
            if len(sys.argv) > 1:
                raise RuntimeError("what a library makes of it") from error
            raise
sys.exit(run_command(command, [], prog="prog", description=""))
"""


@pytest.mark.parametrize("words", [[], ["hides it"]])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_sigterm_is_as_ctrl_c(number: int, code: int, words: list[str]) -> None:
    command = [sys.executable, "-c", PROGRAM, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said == "prog: interrupted; the same command goes on where it stopped.\n"


def test_a_pipe_that_nobody_reads_is_quiet() -> None:
    program = """
import sys
from dust3r_sfm.system.terminal import run_command
def command() -> None:
    sys.stdin.readline()
    print("a line")
sys.exit(run_command(command, [], prog="prog", description=""))
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", program], text=True, **pipes)
    assert process.stdout is not None and process.stderr is not None and process.stdin is not None
    process.stdout.close()
    process.stdin.write("go on\n")
    process.stdin.close()
    assert (process.wait(timeout=60), process.stderr.read()) == (141, "")
    process.stderr.close()


def test_what_must_be_whole_is_not_interrupted() -> None:
    done = []

    def command() -> None:
        with signals.deferred():
            signal.raise_signal(signal.SIGTERM)
            time.sleep(0.01)
            done.append("whole")
        done.append("never")

    assert run_command(command, [], prog="prog", description="") == 143
    assert done == ["whole"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_swallowed_signal_comes_again() -> None:
    def command() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signals.check()
        raise AssertionError("it went on")

    assert run_command(command, [], prog="prog", description="") == 130
