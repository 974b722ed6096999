"""A process that reads damaged files one after the other and says of each how it went, a line of JSON each."""

import faulthandler
import json
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from dust3r_sfm.errors import Dust3rSfmError
from tests.fuzz.mutate import mutate
from tests.fuzz.readers import Readers, nonsense, write_all

MEMORY_BYTES = 2 << 30
"""What a reader may take beyond what the process has at its start."""
SECONDS = 10
"""What all readers of one file may take together."""


def main(seed: int, first: int, last: int) -> None:
    """Read the files number first to last - 1."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        seeds, damaged = Path(folder) / "seeds", Path(folder) / "damaged"
        write_all(seeds)
        readers, kinds = Readers(seeds), sorted(path.name for path in seeds.iterdir())
        for kind in kinds:
            for read in readers.of(kind):
                assert nonsense(read(seeds / kind)) is None, kind
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY_BYTES, resource.RLIM_INFINITY))
        for number in range(first, last):
            rng = np.random.default_rng([seed, number])
            kind = kinds[number % len(kinds)]
            shutil.rmtree(damaged, ignore_errors=True)
            shutil.copytree(seeds / kind, damaged)
            files = sorted(path for path in damaged.rglob("*") if path.is_file())
            how = f"{kind}/{mutate(files[rng.integers(len(files))], rng)}"
            _say(begin=number, how=how)
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            for read in readers.of(kind):
                _say(number=number, how=how, fault=_fault(read, damaged))
            faulthandler.cancel_dump_traceback_later()


def _fault(read: Any, folder: Path) -> str | None:
    try:
        found = nonsense(read(folder))
    except Dust3rSfmError as error:
        return None if str(error) else "an error without a sentence"
    except BaseException as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "dust3r_sfm" in frame.filename]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
        return f"{type(error).__name__} at {where}: {str(error)[:200]}"
    return None if found is None else f"accepted: {found[:200]}"


def _say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
