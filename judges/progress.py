"""Progress of long work: a bar on a terminal, plain lines elsewhere, or lines of JSON on request."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Advance = Callable[[int, int], None]
"""Called with (done, total)."""


class Watch:
    """Shows progress on `console`, by default standard error, so that standard output is left for results."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._tasks, self._done, self._since = 0, 0, 0.0

    def expect(self, tasks: int) -> None:
        """Say of how many tasks the whole work consists, so that each shows how much is left; 0 if unknown."""
        self._tasks, self._done, self._since = tasks, 0, time.perf_counter()

    @contextmanager
    def task(self, description: str, *, aside: bool = False) -> Iterator[Advance]:
        """Show one piece of work, and yield the function to call as it advances.

        Args:
            description: of the work.
            aside: whether it is none of those that were expected.
        """
        place = f"[{min(self._done + 1, self._tasks)}/{self._tasks}] " if self._tasks and not aside else ""
        try:
            if not self.console.is_terminal or self.console.is_dumb_terminal:
                self.say(f"{place}{description} ...")
                yield lambda _done, _total: None
                return
            with self._bars(description) as advance:
                yield advance
        finally:
            self._done += not aside

    @contextmanager
    def _bars(self, description: str) -> Iterator[Advance]:
        """Show a bar for a piece of work and, if their number is known, one for all."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        with Progress(*columns, console=self.console) as progress:
            started = time.perf_counter()
            one = progress.add_task(description, total=None, left="")
            whole = (
                progress.add_task("in all", total=self._tasks, completed=self._done, left="") if self._tasks else None
            )

            def advance(done: int, total: int) -> None:
                progress.update(one, completed=done, total=total, left=_left(started, done, total))
                if whole is not None:
                    share = self._done + done / max(total, 1)
                    progress.update(whole, left=_left(self._since, share, self._tasks))

            yield advance

    @classmethod
    def silent(cls) -> Watch:
        """Return a watch that shows nothing."""
        return cls(Console(quiet=True))

    def say(self, text: str) -> None:
        """Print one line verbatim."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _left(since: float, done: float, total: int) -> str:
    """Return about how long work takes that began at `since`, if the rest takes as long as what is done."""
    if not 0 < done < total:
        return ""
    return f"about {duration((time.perf_counter() - since) * (total - done) / done)} left"


def duration(seconds: float) -> str:
    """Return a time in words, as "2 h 05 min"."""
    if seconds < 1:
        return "less than a second"
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


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
    def task(self, description: str, *, aside: bool = False) -> Iterator[Advance]:  # noqa: ARG002 - nothing is counted
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
