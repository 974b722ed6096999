"""HDF5 files are whole or absent, on a disk that fills up at any byte too."""

import ast
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from dust3r_sfm.system import hdf5_writer
from dust3r_sfm.system.hdf5_writer import GrowingFile, grown_file, new_file

PACKAGE = Path(hdf5_writer.__file__).parents[1]

FILL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from dust3r_sfm.errors import OutputError
from dust3r_sfm.system import hdf5_writer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[2])
for limit in (0, 100, 3_000, 50_000, 400_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with getattr(hdf5_writer, sys.argv[1])(path) as h5:
            for number in range(200):
                h5.create_dataset(f"part/{number}", data=np.arange(1000.0), compression="gzip")
                h5[f"other/{number % 7}/{number}"] = np.arange(200.0)
                h5[f"part/{number}"][:]
        sys.exit("written")
    except OutputError as error:
        assert "disk is full" in str(error), error
"""


@pytest.mark.parametrize("how", ["new_file", "grown_file"])
def test_a_disk_that_fills_up_is_a_sentence_and_the_old_file_stays(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.h5"
    with new_file(path) as h5:
        h5["old"] = np.arange(3)
    done = subprocess.run([sys.executable, "-c", FILL, how, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with h5py.File(path) as h5:
        assert list(h5) == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with new_file(path) as h5:
        h5["old"] = np.arange(3)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), grown_file(path) as h5:
        h5["new"] = 1 / 0
    assert path.read_bytes() == before


def test_a_growing_file_keeps_what_it_has_when_the_work_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"

    def write(h5: h5py.File, item: int) -> None:
        h5[str(item)] = item

    with pytest.raises(ZeroDivisionError), GrowingFile(path, write) as file:
        file.add(1)
        raise ZeroDivisionError
    with GrowingFile(path, write) as file:
        file.add(2)
    with h5py.File(path) as h5:
        assert [h5[name][()] for name in h5] == [1, 2]


def test_nobody_else_opens_a_file_for_writing() -> None:
    writers = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "h5py.File":
                modes = [*node.args[1:2], *(word.value for word in node.keywords if word.arg == "mode")]
                if [ast.unparse(mode) for mode in modes] != ["'r'"]:
                    writers.append(path.relative_to(PACKAGE).as_posix())
    assert set(writers) == {"system/hdf5_writer.py"}
