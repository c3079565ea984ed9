"""One value for a table of results, written once and rendered as HTML, Markdown, LaTeX (templates) and in a terminal.

Everything here is plain text; each renderer escapes it for its format.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

Row = TypeVar("Row")


class Small(NamedTuple):
    """Small print with its class on the page."""

    text: str
    css: str = ""


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table.

    Attributes:
        text: the number, or the word.
        beside: an interval, quartiles: on the same line.
        under: small print below; what is empty is left out.
        css: classes on the page: of emphasis ("best", "alarm"), or of tone ("verdict yes").
    """

    text: str
    beside: str = ""
    under: tuple[str | Small, ...] = ()
    css: str = ""

    @property
    def line(self) -> str:
        """Return the text and what is beside it."""
        return f"{self.text} {self.beside}".strip()

    @property
    def small(self) -> list[Small]:
        """Return what there is of small print."""
        return [part for part in (Small(part) if isinstance(part, str) else part for part in self.under) if part.text]

    @property
    def below(self) -> str:
        """Return all small print as one text."""
        return "; ".join(part.text for part in self.small)


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column: its heading, and what it says of a row.

    Attributes:
        heading, unit: of the column; the unit is small.
        cell: row -> what stands there.
        span, span_unit: heading over this column and the neighbours that have the same one.
        under: heading of the small print, where Markdown and the terminal give it a column of its own.
        left: whether it holds words, which stand to the left.
        long: whether it holds sentences.
        theirs: whether it holds numbers of a paper, in italics.
        beside: class of what is beside the text on the page; below it where there is no class.
        aligned: whether deviations ("71.3 +- 2.3") stand under each other on the page.
        terminal: heading in a terminal; the column is left out there where it is empty.
        brief: whether the terminal leaves out what is beside the text.
    """

    heading: str
    cell: Callable[[Row], Cell | str]
    unit: str = ""
    span: str = ""
    span_unit: str = ""
    under: str = ""
    left: bool = False
    long: bool = False
    theirs: bool = False
    beside: str = ""
    aligned: bool = False
    terminal: str = ""
    brief: bool = False

    def of(self, row: Row) -> Cell:
        """Return what stands in this column of a row."""
        told = self.cell(row)
        return Cell(told) if isinstance(told, str) else told

    @property
    def title(self) -> str:
        """Return the heading with its unit."""
        return _joined(self.heading, self.unit)

    @property
    def over(self) -> str:
        """Return the heading over it with its unit."""
        return _joined(self.span, self.span_unit)


@dataclass(frozen=True)
class Group(Generic[Row]):
    """Rows that stand together, under a title with a note; both are empty where a table has no groups."""

    rows: Sequence[Row]
    title: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """Return the title with the note."""
        return _joined(self.title, self.note)


@dataclass(frozen=True)
class Drawing:
    """Figures or pictures, which only the page has: a template, what it shows, and the words around that."""

    template: str
    shown: Sequence[Any]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table(Generic[Row]):
    """A table of results.

    Attributes:
        label: what a screen reader calls it.
        columns: from left to right; the first names the row.
        groups: from top to bottom.
        grouped_by: heading of the groups' titles; "" where there are none.
        name: tells it from the other tables of its section.
        lead, note: text above and below.
        remarks: sentences on its numbers.
        above: what the page draws over it.
        css: classes of the table on the page.
        row_css: row -> its classes on the page.
        apart: row -> what it shares with its neighbours; a line is drawn where that changes.
        fold: what the page prints in place of the table until a reader opens it; "" where it stands open.
        unfolded: whether it is opened from the start.
    """

    label: str
    columns: Sequence[Column[Row]]
    groups: Sequence[Group[Row]]
    grouped_by: str = ""
    name: str = ""
    lead: str = ""
    note: str = ""
    remarks: Sequence[str] = ()
    above: Drawing | None = None
    css: str = "results layout"
    row_css: Callable[[Row], str] | None = None
    apart: Callable[[Row], object] | None = None
    fold: str = ""
    unfolded: bool = False

    @property
    def shown(self) -> bool:
        """Return whether it has any row."""
        return any(group.rows for group in self.groups)

    @property
    def heads(self) -> list[tuple[Column[Row], int, int]]:
        """Return the cells of the first row of headings: (column, columns under it, rows of headings that it fills)."""
        rows = 2 if any(column.span for column in self.columns) else 1
        own = itertools.groupby(enumerate(self.columns), lambda item: item[1].span or item[0])
        told = [[column for _, column in columns] for _, columns in own]
        return [(columns[0], len(columns), 1 if columns[0].span else rows) for columns in told]

    def css_of(self, column: Column[Row]) -> str:
        """Return the class of a column: in a plain table numbers have one, in others words."""
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
        """Return the headings in one row, that of the groups and those of small print among them; True of words."""
        heads = [(self.grouped_by, True)] if self.grouped_by else []
        for place, column in enumerate(self.columns):
            over = f"{column.over}: " if column.over else ""
            heads.append((f"{over}{column.title}", column.left or not place))
            heads += [(f"{over}{column.under}", True)] if column.under else []
        return heads

    @property
    def flat_rows(self) -> Iterator[list[str]]:
        """Yield the rows as texts under `flat_heads`."""
        for group in self.groups:
            for _, cells in self.lines(group):
                texts = [group.name] if self.grouped_by else []
                for column, cell in zip(self.columns, cells, strict=True):
                    texts += [cell.line, cell.below] if column.under else [_joined(cell.line, cell.below, by="; ")]
                yield texts


@dataclass(frozen=True)
class Section:
    """A section of a report, which is left out where nothing stands in it.

    Attributes:
        id: on the page.
        title, reference: heading, and the table or figure of a paper whose layout it has.
        parts: tables, and drawings around them; those without a row or a picture are left out.
        lead, note: text above and below.
    """

    id: str
    title: str
    parts: Sequence[Table[Any] | Drawing]
    reference: str = ""
    lead: str = ""
    note: str = ""

    @property
    def shown(self) -> list[Table[Any] | Drawing]:
        """Return the parts that hold anything."""
        return [part for part in self.parts if part.shown]

    @property
    def tables(self) -> list[Table[Any]]:
        """Return the tables that have rows."""
        return [part for part in self.shown if isinstance(part, Table)]


def _joined(*parts: str, by: str = ", ") -> str:
    return by.join(part for part in parts if part)
