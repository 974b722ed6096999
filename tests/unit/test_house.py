"""The rules of the house that a reader can count: short files, folders that are seen at a glance, few parameters."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(path for room in ("dust3r_sfm", "pipelines", "benchmarks") for path in (ROOT / room).rglob("*.py"))
MAX_LINES, MAX_FILES, MAX_PARAMETERS = 300, 20, 7


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


def test_no_file_is_longer_than_it_can_be_read() -> None:
    assert names([path for path in FILES if len(path.read_text(encoding="utf-8").splitlines()) > MAX_LINES]) == []


def test_no_folder_holds_more_than_can_be_seen() -> None:
    folders = {path.parent for path in FILES}
    assert names([folder for folder in sorted(folders) if len(list(folder.glob("[!_]*.py"))) > MAX_FILES]) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_public_functions_take_few_parameters(path: Path) -> None:
    """Kernels are left out (machine code takes arrays and numbers), and so are commands: theirs are their flags."""
    many = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        is_exempt = any("compiled" in ast.unparse(decorator) for decorator in node.decorator_list)
        is_exempt = is_exempt or node.name in ("command", path.parent.name)  # export, and pipelines
        taken = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        if len([name for name in taken if name not in ("self", "cls")]) > MAX_PARAMETERS and not is_exempt:
            many.append(node.name)
    assert many == []
