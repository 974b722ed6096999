"""`python -m pipelines.realestate10k`: the same as `python -m pipelines RealEstate10K`."""

import sys

from pipelines.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["RealEstate10K", *sys.argv[1:]]))
