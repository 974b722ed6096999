"""The examples of the README and of docs/ run as they are written."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

import dust3r_sfm
from dust3r_sfm import network
from dust3r_sfm.cli import VERBS
from dust3r_sfm.cli import main as cli_main
from dust3r_sfm.export import main as export_main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks(page, "bash") for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def finished(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PHOTOS/, five rendered photographs, and OUT/, what the first command of most pages makes of them."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "PHOTOS").mkdir()
    for path in sorted((sample_folder / "images").iterdir())[:5]:
        shutil.copy(path, folder / "PHOTOS")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli_main(["reconstruct", "PHOTOS", "OUT"]) == 0
    return folder


@pytest.fixture
def folder(sample_folder: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with PHOTOS/, OUT/, a finished run, and SAMPLE/, the whole rendered scene."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    shutil.copytree(sample_folder, tmp_path / "SAMPLE")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_examples(page, folder, monkeypatch):
    """Examples that load published weights, which are not at hand, get a small random network of the same form."""
    config = network.NetworkConfig(
        encoder_width=48,
        encoder_depth=2,
        encoder_heads=3,
        decoder_width=32,
        decoder_depth=4,
        decoder_heads=2,
        head="catmlp+dpt",
        descriptor_size=24,
        descriptor_confidence_mode=("exp", 0.0, float("inf")),
    )
    monkeypatch.setattr(dust3r_sfm, "load_network", lambda name: network.random_network(config, 0).eval())
    images = [torch.zeros(1, 3, 32, 48), torch.ones(1, 3, 32, 48)]
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), {"__name__": "__main__", "images": images})


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_commands(page, folder):
    """Our own commands run; those of other programs only have to name our files as they are."""
    for command in commands(page):
        words = shlex.split(command)
        if words[0] == "dust3r-sfm":
            assert cli_main(words[1:]) == 0, command
        elif words[:3] == ["python", "-m", "dust3r_sfm.export"]:
            assert export_main(words[3:]) == 0, command
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE), command
        elif words[0] == "colmap":
            paths = [Path(word) for word in words[2:] if word.startswith("OUT/") and "output" not in words]
            assert all(path.parent.exists() for path in paths), command


def test_every_verb_is_documented():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert not [verb for verb in VERBS if f"`{verb}`" not in text and f"dust3r-sfm {verb}" not in text]


def test_examples_import_from_the_face_alone():
    """Only those who write a predictor need more of the package."""
    for page in PAGES:
        for block in blocks(page, "python"):
            modules = re.findall(r"^(?:from|import) +(dust3r_sfm[\w.]*)", block, flags=re.MULTILINE)
            assert set(modules) <= {"dust3r_sfm", "dust3r_sfm.predictors.predictor"}, page.name


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_files_of_the_code_are_where_the_pages_say():
    for page in PAGES:
        for name in re.findall(r"`([\w/]+/[\w/]*\.(?:py|json|toml))[`:]", page.read_text(encoding="utf-8")):
            here = any((root / name).exists() for root in (ROOT, ROOT / "dust3r_sfm"))
            assert here or name.startswith(("OUT/", "POSE/")), f"{page.name}: {name}"


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {page.name for page in PAGES if page.parent.name == "docs"} - {"index.md"}
    assert pages <= set(re.findall(r"\]\((\w+\.md)\)", index))


def test_prose_is_no_wider_than_a_screen():
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        wide = [line for line in text.splitlines() if len(line) > 131 and not line.startswith("|")]
        assert not wide, f"{page.name}: {wide[0]}"


def test_the_shares_of_one_surface_are_those_of_the_code():
    rows = re.findall(
        r"^\| (0\.\d+) \| `([\w/]+\.py)`", (ROOT / "docs" / "constants.md").read_text(), flags=re.MULTILINE
    )
    assert len(rows) == 12
    for share, module in rows:
        code = (ROOT / "dust3r_sfm" / module).read_text(encoding="utf-8")
        assert re.search(rf"^[A-Z_]+ = {re.escape(share)}$", code, flags=re.MULTILINE), f"{module}: {share}"
