"""By hand: python -m tests.fuzz --files 10000 [--seed 1] [--first 0] [--seconds 600]"""

import argparse
import sys

from tests.fuzz.harness import fuzz

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--files", type=int, default=1000)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--first", type=int, default=0)
parser.add_argument("--seconds", type=float)
arguments = parser.parse_args()
count, faults = fuzz(arguments.seed, arguments.files, first=arguments.first, seconds=arguments.seconds)
for fault in faults:
    print(f"{fault.number}  {fault.how}\n    {fault.what}")
print(f"{count} files, {len(faults)} faults")
sys.exit(bool(faults))
