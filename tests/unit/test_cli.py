"""The table of verbs and its help; what verbs do is tested where they are made."""

import pytest

from dust3r_sfm import __version__
from dust3r_sfm.cli import VERBS, main


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version(capsys, flag):
    assert main([flag]) == 0
    assert capsys.readouterr().out == f"dust3r-sfm {__version__}\n"


def test_help_names_every_verb_with_a_sentence(capsys):
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = {words[0]: words[1:] for line in lines if line.startswith("  ") and (words := line.split())}
    assert all(len(said[verb]) > 3 for verb in VERBS)
    assert max(map(len, lines)) <= 120


def test_without_a_verb_the_help_is_the_answer(capsys):
    assert main([]) == 2
    assert "usage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "said"), [("reconstrct", "did you mean reconstruct?"), ("xyzzy", "--help lists them")]
)
def test_an_unknown_verb(capsys, typed, said):
    assert main([typed, "a", "b"]) == 2
    assert said in capsys.readouterr().err
