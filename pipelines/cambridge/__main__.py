"""`python -m pipelines.cambridge`: the same as `python -m pipelines Cambridge`."""

import sys

from pipelines.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["Cambridge", *sys.argv[1:]]))
