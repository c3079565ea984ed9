"""A table of results in a terminal: the columns that are meant for it, and groups under their titles."""

from __future__ import annotations

from typing import Any

import rich.table
from rich.text import Text

from judges.report.table import Table


def terminal_table(*tables: Table[Any]) -> rich.table.Table:
    """Return tables below each other; rows of controls are dim, small print has columns of its own at the end."""
    grid = rich.table.Table.grid(padding=(0, 0, 1, 0))
    for table in tables:
        grid.add_row(_drawn(table))
    return grid


def _drawn(table: Table[Any]) -> rich.table.Table:
    shown = [(place, column) for place, column in enumerate(table.columns) if column.terminal]
    under = [(place, column) for place, column in shown if column.under]
    drawn = rich.table.Table(box=None, pad_edge=False)
    for place, column in shown:
        drawn.add_column(column.terminal, justify="left" if column.left or not place else "right", no_wrap=not place)
    for _, column in under:
        drawn.add_column(column.under)
    for group in table.groups:
        drawn.add_section()
        drawn.add_row(Text(group.title), style="bold")
        for css, cells in table.lines(group):
            first, *texts = [cells[place].text if column.brief else cells[place].line for place, column in shown]
            texts = [f"  {first}", *texts, *(cells[place].below for place, _ in under)]
            drawn.add_row(*map(Text, texts), style="dim" if "control" in css else "")
    return drawn
