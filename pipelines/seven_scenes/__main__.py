"""`python -m pipelines.seven_scenes`: the same as `python -m pipelines 7Scenes`."""

import sys

from pipelines.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["7Scenes", *sys.argv[1:]]))
