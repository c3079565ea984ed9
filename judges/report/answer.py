"""What a report says first: what was attacked, by whom, what leaked, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

MOST_ITEMS = 6
"""How many settings are named with their numbers; of more, the tables tell."""


class Answer(NamedTuple):
    """The answer of a run: a sentence with its tone (see `judges.report.words.tone`), and what it rests on.

    Each line is a term and what is said of it; a term of which nothing is said is left out.
    """

    headline: str
    tone: str
    lines: Sequence[tuple[str, Sequence[str]]]

    def warned(self, warning: str) -> Answer:
        """Return the answer with one more warning."""
        lines = dict(self.lines)
        return self._replace(lines=[*(lines | {"Beware": [*lines.get("Beware", ()), warning]}).items()])

    @property
    def shown(self) -> list[tuple[str, Sequence[str]]]:
        """Return the lines of which something is said."""
        return [(term, told) for term, told in self.lines if told]


def listed(items: Sequence[str], *, last: str = "and") -> str:
    """Return "a, b and c"."""
    return f" {last} ".join([*([", ".join(items[:-1])] if items[:-1] else []), *items[-1:]])


def bounded(items: Sequence[str], what: str) -> list[str]:
    """Return at most `MOST_ITEMS` items, and how many more there are."""
    more = len(items) - MOST_ITEMS
    return [*items[:MOST_ITEMS], *([f"and {more} more {what}, in the tables below"] if more > 0 else [])]
