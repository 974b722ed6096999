"""`python -m pipelines NAME …`: a data set in, the table of a paper with a measured row out."""

import sys
from collections.abc import Callable, Sequence

from dust3r_sfm.system.terminal import run_command
from pipelines.cambridge.run import cambridge
from pipelines.co3d.run import co3d
from pipelines.mono_depth.run import mono_depth
from pipelines.query_list.run import query_list
from pipelines.realestate10k.run import realestate10k
from pipelines.seven_scenes.run import seven_scenes

COMMANDS: dict[str, Callable[..., None]] = {
    "7Scenes": seven_scenes,
    "Cambridge": cambridge,
    "CO3D": co3d,
    "RealEstate10K": realestate10k,
    "mono-depth": mono_depth,
    "query-list": query_list,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see `terminal.run_command` for the exit codes."""
    return run_command(COMMANDS, arguments, prog="pipelines", description="Benchmarks, from data set to table.")


if __name__ == "__main__":
    sys.exit(main())
