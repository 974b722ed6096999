"""What `import dust3r_sfm` offers: its names, what they cost, and that no import changes what they mean."""

import ast
import inspect
import json
import re
import subprocess
import sys
from importlib import import_module, resources
from pathlib import Path

import pytest

import dust3r_sfm
from dust3r_sfm import errors, options, types

API = Path(__file__).parents[2] / "docs" / "api.md"


def run(code: str) -> object:
    """Run Python code in a process of its own and give what it prints as JSON."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_visible_names_are_the_face():
    assert sorted(name for name in dir(dust3r_sfm) if not name.startswith("_")) == sorted(dust3r_sfm.__all__)
    assert len(set(dust3r_sfm.__all__)) == len(dust3r_sfm.__all__)


@pytest.mark.parametrize("name", dust3r_sfm.__all__)
def test_a_name_is_what_its_module_holds(name):
    value = getattr(dust3r_sfm, name)
    assert not inspect.ismodule(value)
    assert value is getattr(import_module(value.__module__), name)


@pytest.mark.parametrize("module", [errors, options, types])
def test_all_words_belong_to_the_face(module):
    words = {
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__.startswith(module.__name__) and not name.endswith("Command")
    }
    assert len(words) > 5 and words <= set(dust3r_sfm.__all__)


def test_type_checkers_see_every_name_as_exported():
    stub = ast.parse(resources.files(dust3r_sfm).joinpath("__init__.pyi").read_text(encoding="utf-8"))
    imports = [statement for statement in stub.body if isinstance(statement, ast.ImportFrom)]
    assert all(alias.asname == alias.name for statement in imports for alias in statement.names)
    assert all(statement.level == 0 for statement in imports)
    others = {ast.unparse(statement) for statement in stub.body if statement not in imports}
    assert "__version__: str" in others and len(others) == 2  # and the docstring


def test_names_that_are_not_offered_are_said():
    with pytest.raises(AttributeError, match="module 'dust3r_sfm' has no attribute 'nothing'"):
        _ = dust3r_sfm.nothing
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from dust3r_sfm import nothing  # noqa: F401


def test_importing_the_package_loads_nothing_heavy():
    loaded = run("import dust3r_sfm, json, sys; dir(dust3r_sfm); print(json.dumps(sorted(sys.modules)))")
    assert not {"torch", "pycolmap", "numpy", "scipy", "cv2", "numba", "h5py", "PIL"} & set(loaded)
    assert not [name for name in loaded if name.startswith("dust3r_sfm.")]


@pytest.mark.parametrize("name", ["reconstruct", "extend", "export"])
@pytest.mark.parametrize(
    "before",
    [
        "import dust3r_sfm.{name}",
        "from dust3r_sfm.{name} import {name}",
        "import importlib; importlib.import_module('dust3r_sfm.{name}')",
        "import dust3r_sfm; dust3r_sfm.{name}; import dust3r_sfm.{name}",
        "from dust3r_sfm import {name}; import dust3r_sfm.{name}",
        "import dust3r_sfm.cli",
    ],
)
def test_functions_are_not_hidden_by_the_modules_of_their_names(name, before):
    lines = [
        before.format(name=name),
        "import json, sys, dust3r_sfm",
        f"from dust3r_sfm import {name} as imported",
        f"from dust3r_sfm.{name} import {name} as original",
        f"module = sys.modules['dust3r_sfm.{name}']",
        f"print(json.dumps([imported is original, dust3r_sfm.{name} is original, module.{name} is original,"
        " callable(original)]))",
    ]
    assert run("\n".join(lines)) == [True] * 4


def test_a_name_may_be_replaced_and_put_back(monkeypatch):
    original = dust3r_sfm.reconstruct
    with monkeypatch.context() as patch:
        patch.setattr(dust3r_sfm, "reconstruct", len)
        assert dust3r_sfm.reconstruct is len
    assert dust3r_sfm.reconstruct is original


def test_the_export_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-m", "dust3r_sfm.export", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--colmap" in done.stdout


def test_the_page_lists_the_face_and_nothing_else():
    text = API.read_text(encoding="utf-8")
    assert not [name for name in dust3r_sfm.__all__ if not re.search(rf"`{name}[`(]", text)]
    calls = re.findall(r"^\| .*? \|", text, flags=re.MULTILINE)
    assert {name for call in calls for name in re.findall(r"`(\w+)\(", call)} <= set(dust3r_sfm.__all__)
