"""Progress of long work: a bar on a terminal, plain lines elsewhere, or lines of JSON on request."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Advance = Callable[[int, int], None]
"""Called with (done, total)."""


class Watch:
    """Shows progress on `console`, by default standard error, so that standard output is left for results."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)

    @contextmanager
    def task(self, description: str) -> Iterator[Advance]:
        """Show one piece of work, and yield the function to call as it advances."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
        )
        if not self.console.is_terminal or self.console.is_dumb_terminal:
            self.say(f"{description} ...")
            yield lambda _done, _total: None
            return
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(description, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    @classmethod
    def silent(cls) -> Watch:
        """Return a watch that shows nothing."""
        return cls(Console(quiet=True))

    def say(self, text: str) -> None:
        """Print one line verbatim."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class EventWatch(Watch):
    """Writes a line of JSON for each event to `stream`, for programs that monitor many runs.

    {"event": "start" | "progress" | "end" | "failed", "task": description, "time": seconds since 1970}, with "done" and
    "total" for "progress", and "seconds" for "end" and "failed". The last event of a run is "report", whose task is the
    path of the report.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(Console(quiet=True))
        self._stream = stream

    @contextmanager
    def task(self, description: str) -> Iterator[Advance]:
        """Write events at the start, at each advance and at the end of one piece of work."""
        started = time.perf_counter()
        self.tell("start", description)
        try:
            yield lambda done, total: self.tell("progress", description, done=done, total=total)
        except BaseException:
            self.tell("failed", description, seconds=round(time.perf_counter() - started, 3))
            raise
        self.tell("end", description, seconds=round(time.perf_counter() - started, 3))

    def tell(self, event: str, task: str, **more: float) -> None:
        """Write one event."""
        self._stream.write(json.dumps({"event": event, "task": task, "time": round(time.time(), 3), **more}) + "\n")
        self._stream.flush()
