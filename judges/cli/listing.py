"""The command `spikeleak list`, and warnings of plugins that were left out. Importing this does not import torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Protocol

import typer
from rich.table import Table as Rows
from rich.text import Text

from attacks import ATTACKS, MODEL_INVERSIONS
from fl_sim.datasets import DATASETS
from fl_sim.defences import DEFENCES
from fl_sim.errors import unknown_name
from fl_sim.models import MODELS
from fl_sim.plugins import OURS, LeftOut, Table
from judges.classifiers.table import JUDGES
from judges.cli.terminal import wide_console

WARNED = ("run", "attack", "audit", "check", "list", "train", "invert", "rerun")
"""Commands that read whole tables, and print on standard error which plugins were left out."""


class _Summed(Protocol):
    """An entry of any table."""

    @property
    def summary(self) -> str:
        """Return a description in one line."""


_TABLES: Mapping[str, tuple[Mapping[str, _Summed], ...]] = {
    "attacks": (ATTACKS, MODEL_INVERSIONS),
    "models": (MODELS,),
    "datasets": (DATASETS,),
    "defences": (DEFENCES,),
    "judges": (JUDGES,),
}


def list_(what: Annotated[str, typer.Argument(help="attacks, models, datasets, defences or judges")]) -> None:
    """List what there is and where it comes from: this project, or the package that added it."""
    if what not in _TABLES:
        raise unknown_name("list", what, _TABLES)
    rows, left_out = _rows(), _rows()
    for table in _TABLES[what]:
        for name, entry in table.items():
            origin = table.origin(name) if isinstance(table, Table) else OURS
            rows.add_row(*map(Text, (name, origin, _one_line(entry.summary))))
    for left in _left_out(_TABLES[what]):
        left_out.add_row(*map(Text, (_one_line(left.name), left.distribution, left.reason)))
    console = wide_console(1000)
    console.print(rows)
    if left_out.row_count:
        typer.echo("\nleft out:")
        console.print(left_out)


def warn_of_plugins() -> None:
    """Print a line on standard error for each plugin of any table that was left out."""
    for left in _left_out(table for tables in _TABLES.values() for table in tables):
        name = _one_line(left.name)
        typer.echo(f"spikeleak: plugin '{name}' of {left.distribution} ({left.group}): {left.reason}", err=True)


def _left_out(tables: Iterable[Mapping[str, _Summed]]) -> list[LeftOut]:
    return [left for table in tables if isinstance(table, Table) for left in table.left_out]


def _rows() -> Rows:
    """Return an empty table of which only the last column wraps."""
    rows = Rows(box=None, pad_edge=False, show_header=False)
    rows.add_column(no_wrap=True)
    rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    return rows


def _one_line(text: str) -> str:
    return " ".join(text.split())
