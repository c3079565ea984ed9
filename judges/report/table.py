"""A table of results as one value, written once and rendered as HTML, Markdown (templates), LaTeX and in a terminal.

Everything here is plain text; each renderer escapes it for its format.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from judges.intervals import Distribution, Rate
from judges.report.formats import DASH, Bounds, Form, joined, out_of_100, percent_interval

Row = TypeVar("Row")


class Small(NamedTuple):
    """Small print and its class on the page."""

    text: str
    css: str = ""


BEST = "best"
"""Class of a cell that is the best of those that it is compared with, in bold in every kind of report."""


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table."""

    text: str  # the number, or the word
    beside: str = ""  # what follows on the same line: an interval, quartiles
    under: tuple[str | Small, ...] = ()  # small print below; empty parts are left out
    css: str = ""  # classes on the page: of emphasis (`BEST`, "main", "alarm"), or of tone ("verdict yes")

    @property
    def line(self) -> str:
        """Return the text and what is beside it."""
        return joined(self.text, self.beside, by=" ")

    @property
    def small(self) -> list[Small]:
        """Return the parts of the small print that are not empty."""
        return [part for part in (Small(part) if isinstance(part, str) else part for part in self.under) if part.text]

    @property
    def below(self) -> str:
        """Return all small print as one text."""
        return "; ".join(part.text for part in self.small)


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column: its heading, with a small unit, and what it says of a row."""

    heading: str
    cell: Callable[[Row], Cell | str]
    unit: str = ""
    span: str = ""  # heading over this column and those of its neighbours that have the same one
    under: str = ""  # heading of the small print, which has a column of its own in Markdown and in a terminal
    left: bool = False  # whether it holds words, which are aligned to the left
    long: bool = False  # whether it holds sentences
    theirs: bool = False  # whether it holds numbers of a paper, in italics
    beside: str = ""  # class of what is beside the text on the page; without one, that is below the text
    aligned: bool = False  # whether deviations ("71.3 +- 2.3") are aligned on the page
    terminal: str = ""  # heading in a terminal, which leaves out columns without one
    brief: bool = False  # whether the terminal leaves out what is beside the text

    def of(self, row: Row) -> Cell:
        """Return what stands in this column of a row."""
        cell = self.cell(row)
        return Cell(cell) if isinstance(cell, str) else cell

    @property
    def title(self) -> str:
        """Return the heading with its unit."""
        return joined(self.heading, self.unit)


@dataclass(frozen=True)
class Group(Generic[Row]):
    """Rows that stand together, under a title with a note; both are empty where a table has no groups."""

    rows: Sequence[Row]
    title: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """Return the title with the note."""
        return joined(self.title, self.note)


@dataclass(frozen=True)
class Drawing:
    """Figures or pictures, which only the page has: a template, what it shows, and the words around that."""

    template: str
    shown: Sequence[Any]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table(Generic[Row]):
    """A table of results. The page draws `above` over it, and shows `fold` in its place until a reader opens it."""

    label: str  # what a screen reader calls it
    columns: Sequence[Column[Row]]  # the first names the row
    groups: Sequence[Group[Row]]
    grouped_by: str = ""  # heading of the groups' titles; "" where there are none
    name: str = ""  # tells it from the other tables of its section
    lead: str = ""
    note: str = ""
    remarks: Sequence[str] = ()  # sentences on its numbers
    above: Drawing | None = None
    css: str = "results layout"
    row_css: Callable[[Row], str] | None = None
    apart: Callable[[Row], object] | None = None  # what neighbours share; a line is drawn where that changes
    fold: str = ""  # "" where it is always open
    unfolded: bool = False  # whether it starts open
    tex: bool = True  # whether it is for articles as well

    @property
    def shown(self) -> bool:
        """Return whether it has any row."""
        return any(group.rows for group in self.groups)

    @property
    def heads(self) -> list[tuple[Column[Row], int, int]]:
        """Return the cells of the first row of headings: (column, how many columns, how many rows of headings)."""
        rows = 2 if any(column.span for column in self.columns) else 1
        spans = itertools.groupby(enumerate(self.columns), lambda item: item[1].span or item[0])
        parts = [[column for _, column in columns] for _, columns in spans]
        return [(columns[0], len(columns), 1 if columns[0].span else rows) for columns in parts]

    def css_of(self, column: Column[Row]) -> str:
        """Return the class of a column: in a plain table numbers have one, in others words do."""
        if column.theirs:
            return "theirs"
        return {(True, False): "num", (False, True): "text"}.get((self.css.startswith("plain"), column.left), "")

    def lines(self, group: Group[Row]) -> Iterator[tuple[str, list[Cell]]]:
        """Yield the classes of each row of a group, and its cells."""
        plain = "" if self.css.startswith("plain") else "attack"
        for place, row in enumerate(group.rows):
            apart = self.apart and place and self.apart(row) != self.apart(group.rows[place - 1])
            css = self.row_css(row) if self.row_css else plain
            yield f"{css}{' apart' if apart else ''}", [column.of(row) for column in self.columns]

    @property
    def flat_heads(self) -> list[tuple[str, bool]]:
        """Return the headings in one row, those of groups and small print included, and whether each is over words."""
        heads = [(self.grouped_by, True)] if self.grouped_by else []
        for place, column in enumerate(self.columns):
            said_apart = bool(column.unit) and column.unit in column.under  # "Updates, examples" beside "examples"
            title = column.heading if said_apart else column.title
            heads.append((joined(column.span, title, by=": "), column.left or not place))
            heads += [(joined(column.span, column.under, by=": "), True)] if column.under else []
        return heads

    @property
    def flat_rows(self) -> Iterator[list[tuple[str, bool]]]:
        """Yield the rows as texts under `flat_heads`, and whether each is the best of its kind."""
        for group in self.groups:
            for _, cells in self.lines(group):
                texts = [(group.name, False)] if self.grouped_by else []
                for column, cell in zip(self.columns, cells, strict=True):
                    own = [cell.line, cell.below] if column.under else [joined(cell.line, cell.below, by="; ")]
                    texts += [(text, cell.css == BEST and not place) for place, text in enumerate(own)]
                yield texts


@dataclass(frozen=True)
class Section:
    """A section of a report with text above (`lead`) and below (`note`); one whose parts are all empty is left out."""

    id: str  # on the page
    title: str
    parts: Sequence[Table[Any] | Drawing]
    reference: str = ""  # the table or figure of a paper whose layout it has
    lead: str = ""
    note: str = ""

    @property
    def shown(self) -> list[Table[Any] | Drawing]:
        """Return the parts that are not empty."""
        return [part for part in self.parts if part.shown]

    @property
    def tables(self) -> list[Table[Any]]:
        """Return the tables that have rows."""
        return [part for part in self.shown if isinstance(part, Table)]


def share_cell(share: float | None, bounds: Bounds, under: str = "") -> Cell:
    """Return a share out of 100 beside its interval; a dash where there is none."""
    return Cell(out_of_100(share), percent_interval(bounds), (under,))


def rate_cell(rate: Rate) -> Cell:
    """Return a rate out of 100 beside its interval."""
    return share_cell(rate.share, (rate.low, rate.high))


def median_cell(values: Distribution | None, form: Form) -> Cell:
    """Return a median beside its quartiles; a dash where nothing is defined."""
    if values is None:
        return Cell(DASH)
    return Cell(form(values.median), f"({form(values.lower_quartile)}{DASH}{form(values.upper_quartile)})")
