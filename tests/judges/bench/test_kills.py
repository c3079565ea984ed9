from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak_kills import CELLS, soak


@pytest.mark.slow
def test_a_run_that_is_killed_twenty_times_ends_as_one_that_was_not(tmp_path: Path) -> None:
    found = soak(20, tmp_path)
    assert found.kills == 20
    assert found.recomputed <= 1
    assert found.cells == CELLS
    assert found.equal
    assert found.whole
