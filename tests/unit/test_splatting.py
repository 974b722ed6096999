import shlex

import pytest

from dust3r_sfm.cli import main


@pytest.fixture
def out(tmp_path):
    (tmp_path / "my out" / "dense" / "sparse" / "0").mkdir(parents=True)
    return tmp_path / "my out"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder that alone is searched for programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def program(name, code=0):
        path = folder / name
        path.write_text(f'#!/bin/sh\necho "$@" > "{folder}/{name}.called"\nexit {code}\n', encoding="utf-8")
        path.chmod(0o755)
        return folder / f"{name}.called"

    return program


def test_every_trainer_has_its_command(out, programs, capsys):
    programs("brush")
    assert main(["splat", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["Brush", "nerfstudio", "gsplat"]  # what is here comes first
    assert shlex.split(lines[0])[1:] == ["brush", f"{out}/dense"]
    assert "# pip install nerfstudio" in lines[1]


def test_the_first_that_is_here_is_started(out, programs, capsys):
    called = programs("ns-train")
    assert main(["splat", str(out), "--run"]) == 0
    assert called.read_text() == (
        f"splatfacto --output-dir {out}/splats --data {out}/dense colmap --colmap-path sparse/0 --downscale-factor 1\n"
    )


def test_what_goes_wrong_is_a_sentence(out, programs, capsys):
    assert main(["splat", str(out), "--run"]) == 1
    assert "No trainer is installed; get one of nerfstudio" in capsys.readouterr().err
    programs("ns-train", code=3)
    assert main(["splat", str(out), "--run"]) == 1
    assert "nerfstudio ended with code 3" in capsys.readouterr().err
    assert main(["splat", str(out / "none")]) == 1
    assert "has no workspace" in capsys.readouterr().err
