from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak_kills import CELLS_OF_A_BUDGET, soak


@pytest.mark.endurance
def test_a_run_that_is_killed_twenty_times_ends_as_one_that_was_not(tmp_path: Path) -> None:
    found = soak(20, tmp_path, budgets=(1,))
    assert found.kills == 20
    assert found.recomputed <= 1
    assert found.cells == CELLS_OF_A_BUDGET
    assert found.equal
    assert found.whole
