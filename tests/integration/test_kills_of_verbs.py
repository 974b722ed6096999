"""A few kills of the harness in `benchmarks/trust/kills.py`, which does as many as are asked for by hand."""

import time
from pathlib import Path

import pytest

from benchmarks.trust.kills import kills, scene_verbs


@pytest.mark.slow
def test_killed_verbs_go_on_to_the_same_result(tmp_path: Path) -> None:
    verbs = {name: verb for name, verb in scene_verbs(tmp_path).items() if name in ("predict", "export", "localize")}
    rows = kills(tmp_path, verbs, 6, 0, time.monotonic() + 1200)
    assert len(rows) == 6 and [row for row in rows if not row["equal"]] == []
