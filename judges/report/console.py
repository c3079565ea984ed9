"""A table of results in a terminal: the columns that are meant for it, and groups under their titles."""

from __future__ import annotations

from typing import Any

import rich.console
from rich.text import Text

from judges.fitted import Fitted, Head, Line
from judges.report.table import Table

Printed = rich.console.Group
"""What a terminal prints."""


def terminal_table(*tables: Table[Any], notes: str = "") -> Printed:
    """Return tables below each other; rows of controls are dim, small print has columns of its own at the end."""
    parts: list[Fitted | Text] = []
    for table in tables:
        parts += [_drawn(table), Text()]
    return Printed(*parts, *([Text(notes)] if notes else []))


def _drawn(table: Table[Any]) -> Fitted:
    shown = [(place, column) for place, column in enumerate(table.columns) if column.terminal]
    under = [(place, column) for place, column in shown if column.under]
    heads = [Head(column.terminal, left=column.left or not place) for place, column in shown]
    heads += [Head(column.under, left=True) for _, column in under]
    lines = []
    for group in table.groups:
        lines.append(Line([group.title], "bold"))
        for css, cells in table.lines(group):
            first, *texts = [cells[place].text if column.brief else cells[place].line for place, column in shown]
            texts = [f"  {first}", *texts, *(cells[place].below for place, _ in under)]
            lines.append(Line(texts, "dim" if "control" in css else ""))
    return Fitted(heads, lines)
