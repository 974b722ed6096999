"""What the commands share: arguments from signatures, bars on standard error, errors as one sentence, exit codes."""

import contextlib
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tyro

from dust3r_sfm.errors import Dust3rSfmError
from dust3r_sfm.system import signals
from dust3r_sfm.system._pycolmap import load_pycolmap
from dust3r_sfm.system.files import as_output_error
from dust3r_sfm.system.progress import Step, hearing_phases
from dust3r_sfm.system.stage_display import StageDisplay

_CONFIG = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.CascadeSubcommandArgs)


_SIGPIPE = 13
"""Number of the signal that ends other programs then; Windows has none."""


class Terminal:
    """A `Progress` with a bar per stage on a terminal, and lines elsewhere."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Step]:
        """See `Progress`."""
        load_pycolmap()  # on the main thread: on no other could its handler of SIGTERM be undone
        with StageDisplay(name) as display, hearing_phases(display.phase):

            def step(done: int, total: int) -> None:
                signals.check()
                display.step(done, total)

            yield step


def run_command(
    command: Callable[..., Any] | Mapping[str, Callable[..., Any]],
    arguments: Sequence[str] | None,
    *,
    prog: str,
    description: str,
) -> int:
    """Parse the arguments for a function, or for one of several named functions, and call it.

    Returns:
        0 when done, 1 after an error of ours (one sentence on standard error), 130 when interrupted, 143 when asked to
        end by SIGTERM, 141 when nobody reads the output any more. Wrong usage leaves through `SystemExit(2)`.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    verbose = "--verbose" in arguments
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("dust3r_sfm").setLevel(logging.DEBUG if verbose else logging.INFO)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names and signs that the locale cannot say must not end a run
            stream.reconfigure(errors="backslashreplace")
    signals.catch()
    try:
        if isinstance(command, Mapping):
            tyro.extras.subcommand_cli_from_dict(
                dict(command), prog=prog, description=description, args=arguments, config=_CONFIG
            )
        else:
            tyro.cli(command, prog=prog, description=description, args=arguments, config=_CONFIG)
        sys.stdout.flush()
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):  # else Python complains at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + _SIGPIPE
    except (Dust3rSfmError, OSError) as error:
        if signals.received():  # what a library made of the interruption
            return _interrupted(prog)
        sentence = as_output_error(error, None) if isinstance(error, OSError) else error
        if verbose or not isinstance(sentence, Dust3rSfmError):
            raise
        print(f"{prog}: {sentence}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _interrupted(prog)
    except Exception:
        if signals.received():
            return _interrupted(prog)
        raise
    finally:
        signals.release()
    return 0


def _interrupted(prog: str) -> int:
    code = 128 + (signals.received() or signal.SIGINT)
    print(f"{prog}: interrupted; the same command goes on where it stopped.", file=sys.stderr)
    return code
