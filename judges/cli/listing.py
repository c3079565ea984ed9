"""The command `spikeleak list`, and warnings of plugins that were left out. Importing this does not import torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Protocol

import typer
from rich.table import Table as Rows
from rich.text import Text

from fl_sim.errors import unknown_name
from judges.cli.terminal import print_table

if TYPE_CHECKING:
    from fl_sim.plugins import LeftOut

# The tables are imported inside the functions, since the help does not need them.

WARNED = ("run", "attack", "audit", "check", "list", "train", "invert", "rerun")
"""Commands that read whole tables, and print on standard error which plugins were left out."""


class _Summed(Protocol):
    """An entry of any table."""

    @property
    def summary(self) -> str:
        """Return a description in one line."""


def _tables() -> Mapping[str, tuple[Mapping[str, _Summed], ...]]:
    from attacks import ATTACKS, MEMBERSHIP_INFERENCES, MODEL_INVERSIONS
    from fl_sim.datasets import DATASETS
    from fl_sim.defences import DEFENCES
    from fl_sim.models import MODELS
    from judges.classifiers.table import JUDGES

    return {
        "attacks": (ATTACKS, MODEL_INVERSIONS, MEMBERSHIP_INFERENCES),
        "models": (MODELS,),
        "datasets": (DATASETS,),
        "defences": (DEFENCES,),
        "judges": (JUDGES,),
    }


def list_(what: Annotated[str, typer.Argument(help="attacks, models, datasets, defences or judges")]) -> None:
    """List what there is and where it comes from: this project, or the package that added it."""
    from fl_sim.plugins import OURS, Table

    tables = _tables()
    if what not in tables:
        raise unknown_name("list", what, tables)
    rows, left_out = _rows(), _rows()
    for table in tables[what]:
        for name, entry in table.items():
            origin = table.origin(name) if isinstance(table, Table) else OURS
            rows.add_row(*map(Text, (name, origin, _one_line(entry.summary))))
    for left in _left_out(tables[what]):
        left_out.add_row(*map(Text, (_one_line(left.name), left.distribution, left.reason)))
    print_table(rows)
    if left_out.row_count:
        typer.echo("\nleft out:")
        print_table(left_out)


def warn_of_plugins() -> None:
    """Print a line on standard error for each plugin of any table that was left out."""
    for left in _left_out(table for tables in _tables().values() for table in tables):
        name = _one_line(left.name)
        typer.echo(f"spikeleak: plugin '{name}' of {left.distribution} ({left.group}): {left.reason}", err=True)


def _left_out(tables: Iterable[Mapping[str, _Summed]]) -> list[LeftOut]:
    from fl_sim.plugins import Table

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
