"""`dust3r-sfm VERB`: the table of verbs, and its help."""

import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

from dust3r_sfm import __version__
from dust3r_sfm.commands.chain import align, pairs, predict, reconstruct
from dust3r_sfm.commands.installation import doctor, features, predictors, train
from dust3r_sfm.commands.models import clean, densify, evaluate, extend, refine, splat, view
from dust3r_sfm.commands.photographs import depth, localize, pose, sample
from dust3r_sfm.export import command as export
from dust3r_sfm.system.terminal import run_command
from dust3r_sfm.web.command import command as web

Verb = Callable[..., None]

GROUPS: Mapping[str, Mapping[str, Verb]] = {
    "from photographs to a model": {
        "reconstruct": reconstruct,
        "web": web,
        "pairs": pairs,
        "predict": predict,
        "align": align,
        "sample": sample,
    },
    "with a model": {
        "view": view,
        "densify": densify,
        "splat": splat,
        "export": export,
        "evaluate": evaluate,
        "extend": extend,
        "refine": refine,
        "localize": localize,
        "clean": clean,
    },
    "more": {
        "pose": pose,
        "depth": depth,
        "predictors": predictors,
        "features": features,
        "train": train,
        "doctor": doctor,
    },
}

VERBS: Mapping[str, Verb] = {name: verb for group in GROUPS.values() for name, verb in group.items()}

_EXAMPLES = """\
examples
  dust3r-sfm reconstruct PHOTOS OUT      then the commands that it ends with
  dust3r-sfm reconstruct VIDEO.mp4 OUT
  dust3r-sfm VERB --help                 all flags of a verb
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `dust3r-sfm`; see `terminal.run_command` for the exit codes."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments in (["--version"], ["-V"], ["version"]):
        print(f"dust3r-sfm {__version__}")
        return 0
    if arguments in ([], ["--help"], ["-h"], ["help"]):
        print(_help())
        return 0 if arguments else 2
    if not arguments[0].startswith("-") and arguments[0] not in VERBS:
        close = get_close_matches(arguments[0], VERBS, n=1)
        meant = f"did you mean {close[0]}?" if close else "dust3r-sfm --help lists them."
        print(f"dust3r-sfm: there is no verb {arguments[0]}; {meant}", file=sys.stderr)
        return 2
    return run_command(VERBS, arguments, prog="dust3r-sfm", description="Photographs in, COLMAP model out.")


def _help() -> str:
    lines = ["Photographs in, COLMAP model out.", "", "usage: dust3r-sfm VERB ...", ""]
    for group, verbs in GROUPS.items():
        lines += [group, *(f"  {name:<13}{_summary(verb)}" for name, verb in verbs.items()), ""]
    return "\n".join(lines) + "\n" + _EXAMPLES.rstrip()


def _summary(verb: Verb) -> str:
    """The first sentence of its help."""
    return (verb.__doc__ or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
