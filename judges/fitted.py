"""Tables of texts in a terminal of any width: what does not fit beside the first column stands in lines below it."""

from __future__ import annotations

import codecs
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.text import Text

_GAP = "  "
_INDENT = "    "
_ASCII = {
    "\N{MIDDLE DOT}": ".",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{NO-BREAK SPACE}": " ",
}
"""What stands for characters that a terminal's encoding lacks; "?" for others."""


@dataclass(frozen=True)
class Head:
    """The heading of a column, and whether the column holds words, which are aligned to the left."""

    text: str
    left: bool = False


@dataclass(frozen=True)
class Line:
    """A row of texts, one for each column; a title has one text and spans all."""

    texts: Sequence[str]
    style: str = ""

    @property
    def is_title(self) -> bool:
        """Return whether it is a title over the rows that follow."""
        return len(self.texts) == 1


class Fitted:
    """A table that rich prints in as many columns as fit, from the left, and the rest in lines below each row.

    Args:
        heads: of the columns; the first column names the row.
        lines: rows and titles.
    """

    def __init__(self, heads: Sequence[Head], lines: Sequence[Line]) -> None:
        self.heads, self.lines = heads, lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Yield one line of text after another."""
        room = options.max_width if console.is_terminal else None
        yield from self.fitting(room)

    def fitting(self, room: int | None) -> Iterator[Text]:
        """Yield the table for a width; None for one without limit."""
        rows = [line for line in self.lines if not line.is_title]
        widths = [
            max(cell_len(text) for text in (head.text, *(row.texts[place] for row in rows)))
            for place, head in enumerate(self.heads)
        ]
        shown = len(self.heads) if room is None else _shown(widths, room)
        yield Text(self._row([head.text for head in self.heads[:shown]], widths), style="bold", no_wrap=True)
        for line in self.lines:
            if line.is_title:
                yield Text(line.texts[0], style="bold")
                continue
            yield Text(self._row(line.texts[:shown], widths), style=line.style, no_wrap=room is None)
            rest = zip(self.heads[shown:], line.texts[shown:], strict=True)
            told = "; ".join(f"{head.text} {text}" for head, text in rest if text)
            if told and room is not None:
                yield Text(_wrapped(told, room), style=line.style)

    def _row(self, texts: Sequence[str], widths: Sequence[int]) -> str:
        """Return the first texts of a row under each other's columns."""
        cells = []
        for text, head, width in zip(texts, self.heads, widths, strict=False):
            space = " " * (width - cell_len(text))
            cells.append(text + space if head.left else space + text)
        return _GAP.join(cells).rstrip()


def _shown(widths: Sequence[int], room: int) -> int:
    """Return how many columns fit; the first one always stands."""
    used, shown = widths[0], 1
    for width in widths[1:]:
        used += len(_GAP) + width
        if used > room:
            break
        shown += 1
    return shown


def _wrapped(text: str, room: int) -> str:
    """Return a text in indented lines that fit."""
    return textwrap.fill(
        text,
        max(room, len(_INDENT) + 1),
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def write_anything(*streams: TextIO) -> None:
    """Let streams write what stands for a character in place of those that their encoding lacks."""
    codecs.register_error("spikeleak", _instead)
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="spikeleak")


def _instead(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for the characters that could not be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_ASCII.get(character, "?") for character in lacking), error.end
