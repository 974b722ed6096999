"""`python -m pipelines 7Scenes | Cambridge | query-list`."""

import sys
from collections.abc import Callable, Sequence

from dust3r_sfm.system.terminal import run_command
from pipelines.cambridge.run import cambridge
from pipelines.query_list.run import query_list
from pipelines.seven_scenes.run import seven_scenes

COMMANDS: dict[str, Callable[..., None]] = {"7Scenes": seven_scenes, "Cambridge": cambridge, "query-list": query_list}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see `terminal.run_command` for the exit codes."""
    return run_command(
        COMMANDS, arguments, prog="pipelines", description="Localization benchmarks, from data set to table."
    )


if __name__ == "__main__":
    sys.exit(main())
