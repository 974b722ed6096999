"""`python -m pipelines.mono_depth`: the same as `python -m pipelines mono-depth`."""

import sys

from pipelines.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["mono-depth", *sys.argv[1:]]))
