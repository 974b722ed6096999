"""`python -m pipelines.query_list`: the same as `python -m pipelines query-list`."""

import sys

from pipelines.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["query-list", *sys.argv[1:]]))
