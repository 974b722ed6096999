"""`python -m pipelines.co3d`: the same as `python -m pipelines CO3D`."""

import sys

from pipelines.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["CO3D", *sys.argv[1:]]))
