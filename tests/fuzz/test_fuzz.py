"""A minute of the harness; `python -m tests.fuzz` runs it for longer."""

import pytest

from tests.fuzz.harness import fuzz


@pytest.mark.slow
def test_damaged_files_are_read_or_refused() -> None:
    count, faults = fuzz(seed=20, num_files=400, seconds=60)
    assert count > 50
    assert faults == []
