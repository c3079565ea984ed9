"""Progress: what a file gets, and what a terminal shows of one task and of all."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from judges.progress import Watch, duration


def told(*, terminal: bool, tasks: int) -> str:
    stream = io.StringIO()
    watch = Watch(Console(file=stream, force_terminal=terminal, width=100, _environ={"TERM": "xterm"}))
    watch.expect(tasks)
    for name in ("first", "second"):
        with watch.task(name) as advance:
            advance(1, 4)
        with watch.task("a judge", aside=True):
            pass
    return stream.getvalue()


def test_a_file_gets_a_numbered_line_for_each_task_that_was_expected() -> None:
    assert told(terminal=False, tasks=3) == "[1/3] first ...\na judge ...\n[2/3] second ...\na judge ...\n"
    assert told(terminal=False, tasks=0) == "first ...\na judge ...\nsecond ...\na judge ...\n"
    assert told(terminal=False, tasks=1).count("[1/1]") == 2  # more than expected: the last number stays


def test_a_terminal_shows_all_tasks_beside_the_one_at_work() -> None:
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", told(terminal=True, tasks=3))
    rows = [row.split() for row in re.split(r"[\r\n]+", shown) if row.startswith("in all")]
    counts = {part for row in rows for part in row if "/" in part}
    assert counts == {"0/3", "1/3", "2/3"}
    assert "left" in shown
    assert "in all" not in told(terminal=True, tasks=0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "less than a second"), (59.4, "59 s"), (100, "2 min"), (3540, "59 min"), (7500, "2 h 05 min")],
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
