"""Where results are shown: in a notebook or on a console; and the one line that tells of progress."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import torch
from rich.console import Console

from judges.progress import Advance, Watch

_WIDTH = 1000


class OneLine(Watch):
    """Shows the current piece of work in one line that it clears at the end; what would be said is kept in `notes`.

    Nothing is shown where standard error is neither a terminal nor a notebook.

    Args:
        shown: whether the line is shown at all.

    Attributes:
        notes: what was said, without repetitions, in its order.
    """

    def __init__(self, *, shown: bool) -> None:
        super().__init__(Console(quiet=True))
        self.notes: list[str] = []
        self._in_notebook = in_notebook()
        self._shown = shown and (self._in_notebook or sys.stderr.isatty())
        self._longest = 0
        self._handle: Any = None  # of the line in a notebook

    @contextlib.contextmanager
    def task(self, description: str, *, aside: bool = False) -> Iterator[Advance]:  # noqa: ARG002 - nothing is counted
        """Show one piece of work, and yield the function to call as it advances."""
        self._write(description)
        yield lambda done, total: self._write(f"{description}: {done} of {total}")

    def say(self, text: str) -> None:
        """Keep a line."""
        if text not in self.notes:
            self.notes.append(text)

    def close(self) -> None:
        """Clear the line."""
        if self._handle is not None:
            self._handle.update({"text/html": ""}, raw=True)
        elif self._longest:
            self._write("")
            sys.stderr.write("\r")
            sys.stderr.flush()

    def _write(self, text: str) -> None:
        if not self._shown:
            return
        if self._handle is not None:
            self._handle.update({"text/plain": text}, raw=True)
        elif self._in_notebook:
            self._handle = _displays().display({"text/plain": text}, raw=True, display_id=True)
        else:
            self._longest = max(self._longest, len(text))
            sys.stderr.write(f"\r{text.ljust(self._longest)}")
            sys.stderr.flush()


@contextlib.contextmanager
def working(*, progress: bool) -> Iterator[OneLine]:
    """Yield what shows progress, and give the caller's number of torch's threads back at the end."""
    threads, watch = torch.get_num_threads(), OneLine(shown=progress)
    try:
        yield watch
    finally:
        watch.close()
        torch.set_num_threads(threads)


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    shell = _shell()
    return shell is not None and getattr(shell, "kernel", None) is not None


def display(result: object) -> None:
    """Show a result in the notebook, which asks it for its `_repr_html_`."""
    _displays().display(result)


def console() -> Console:
    """Return a console on standard output, as wide as the terminal, or wide for files and pipes."""
    found = Console()
    return found if found.is_terminal else Console(width=_WIDTH)


def _displays() -> Any:  # noqa: ANN401 - IPython is no dependency
    return sys.modules["IPython"].display


def _shell() -> Any:  # noqa: ANN401 - IPython is no dependency
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()
