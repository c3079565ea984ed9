"""A table of results as a terminal shows it: the columns that are meant for it, and groups under their titles."""

from __future__ import annotations

from typing import Any

import rich.table
from rich.text import Text

from judges.report.table import Table


def terminal_table(*tables: Table[Any]) -> rich.table.Table:
    """Return tables one below the other; rows of controls are dim, small print has columns at the end."""
    both = rich.table.Table.grid(padding=(0, 0, 1, 0))
    for table in tables:
        both.add_row(_drawn(table))
    return both


def _drawn(table: Table[Any]) -> rich.table.Table:
    """Return one table."""
    shown = [place for place, column in enumerate(table.columns) if column.terminal]
    under = [place for place in shown if table.columns[place].under]
    drawn = rich.table.Table(box=None, pad_edge=False)
    for place in shown:
        column = table.columns[place]
        words = column.left or not place
        drawn.add_column(column.terminal, justify="left" if words else "right", no_wrap=not place)
    for place in under:
        drawn.add_column(table.columns[place].under)
    for group in table.groups:
        drawn.add_section()
        drawn.add_row(Text(group.title), style="bold")
        for css, cells in table.lines(group):
            texts = [cells[place].text if table.columns[place].brief else cells[place].line for place in shown]
            texts = [f"  {texts[0]}", *texts[1:], *(cells[place].below for place in under)]
            drawn.add_row(*map(Text, texts), style="dim" if "control" in css else "")
    return drawn
