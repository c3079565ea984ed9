r"""The tables of a report for \input in an article of two columns: compact, and none wider than its column.

Widths are estimated from those of Times at 8 points, as IEEEtran sets \footnotesize; a table goes over both columns if
it is too wide for one, small print is left out if it is too wide for two, and texts are wrapped if that is not enough.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from judges.report.formats import DASH
from judges.report.table import BEST, Cell, Column, Group, Section, Table

ONE_COLUMN, TWO_COLUMNS = 252.0, 516.0
"""Widths of one and of both columns of IEEEtran, in points."""

MOST_ROWS = 44
"""How many rows a table has at most, so that it fits on a page; the others follow in another."""

_EM, _SMALL = 8.0, 7.0  # sizes of the text and of the small print, in points
_GAP, _SAFETY = 6.0, 1.06  # between columns, in points; how much wider than estimated a text may be
_BOLD = 1.08  # how much wider bold text is
_WIDTHS = (
    (re.compile(r"[0-9$+]"), 0.5), (re.compile(r"[ .,:;'|!\[\]()ijlIt/\-]"), 0.31), (re.compile(r"[mwMWO%@]"), 0.82),
    (re.compile(r"[A-Z&#]"), 0.68), (re.compile(r"[a-z]"), 0.48),
)  # fmt: skip
_LEAST = 58.0  # of a column with wrapped text, in points
_FLOATS = 12  # LaTeX keeps so many tables that it could not place yet and no more
_CLEAR = "\\clearpage % LaTeX keeps so many tables and no more\n"

_TEX = (
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {sign: f"${sign}$" for sign in "<>|"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "[": "{[}", "]": "{]}"}
    | {"\N{EN DASH}": "--", "\N{RIGHT SINGLE QUOTATION MARK}": "'", "\N{NO-BREAK SPACE}": "~", "\N{THIN SPACE}": r"\,"}
    | {"\N{MINUS SIGN}": "$-$", "\N{PLUS-MINUS SIGN}": r"$\pm$", "\N{MULTIPLICATION SIGN}": r"$\times$"}
    | {"\N{MIDDLE DOT}": r"$\cdot$", "\N{INFINITY}": r"$\infty$"}
)
"""Characters that LaTeX reads as commands, and those that are not in every font."""

_BEYOND_LATIN = "\u0250"  # from here on LaTeX needs more packages; such characters are printed as question marks


def escaped(text: str) -> str:
    """Return text of one line that can stand in a cell; LaTeX takes a "*" after a line break for part of that."""
    signs = (_TEX.get(sign, sign if sign < _BEYOND_LATIN else "?") for sign in text)
    return ("{}" if text.startswith("*") else "") + "".join(signs)


def latex_page(title: str, sections: Sequence[Section], clean: Callable[[str], str]) -> str:
    """Return the tables of a report.

    Args:
        title: of the report.
        sections: of the report; sections and tables that are not for articles are left out.
        clean: returns a text in one line, in which every character can be seen.
    """
    text = f"% {escaped(clean(title))}: tables for \\input; needs \\usepackage{{array,booktabs}}.\n"
    count = 0
    for section in sections:
        for place, table in enumerate((one for one in section.tables if one.tex), start=1):
            label = f"tab:{section.id}" + (f"-{place}" if place > 1 else "")
            for part, own in enumerate(_parts(table), start=1):
                name = label if part == 1 else f"{label}-part{part}"
                text += "\n" + _float(section, own, name, clean, part)
                count += 1
                if not count % _FLOATS:
                    text += _CLEAR
    return text


@dataclass(frozen=True)
class _Set:
    """A table as it is set: texts of each row and of its small print, and a width for columns that are wrapped."""

    columns: list[Column[Any]]
    heads: list[list[str]]  # lines of each heading
    groups: list[tuple[str, list[list[Cell]]]]
    wrapped: dict[int, float]
    small: bool

    @property
    def widths(self) -> list[float]:
        """Return how wide each column is, in points."""
        return [self.wrapped.get(place) or self._natural(place) for place in range(len(self.columns))]

    @property
    def width(self) -> float:
        """Return how wide the table is, in points."""
        return sum(self.widths) + _GAP * len(self.columns)

    def _natural(self, place: int) -> float:
        texts = [cells[place] for _, rows in self.groups for cells in rows]
        parts = [width_of(cell.line) * (_BOLD if cell.css == BEST else 1.0) for cell in texts]
        parts += [width_of(line) for line in self.heads[place]]
        if self.small:
            parts += [width_of(part.text, _SMALL) for cell in texts for part in cell.small]
        return max(parts, default=0.0)


def width_of(text: str, size: float = _EM) -> float:
    """Return about how wide a text is in Times of a size, in points, with a margin."""
    total = 0.0
    for sign in text:
        total += next((width for pattern, width in _WIDTHS if pattern.match(sign)), 0.7)
    return _SAFETY * size * total


def _parts(table: Table[Any]) -> Iterator[Table[Any]]:
    """Yield a table in parts of at most `MOST_ROWS` rows."""
    groups: list[Group[Any]] = []
    room = MOST_ROWS
    for group in table.groups:
        rows = list(group.rows)
        while rows:
            if len(rows) > room and groups:
                yield replace(table, groups=groups)
                groups, room = [], MOST_ROWS
            groups.append(replace(group, rows=rows[:room]))
            rows, room = rows[room:], room - len(rows[:room])
    if groups:
        yield replace(table, groups=groups)


def _fitted(table: Table[Any], clean: Callable[[str], str]) -> _Set:
    """Return a table as narrow as it must be: with its small print, if need be with wrapped words, or without it.

    What is left out is not in the headings either.
    """
    groups = [(clean(group.name), [[_clean(cell, clean) for cell in cells] for _, cells in table.lines(group)])
              for group in table.groups]  # fmt: skip
    rows = [cells for _, own in groups for cells in own]
    kept = [place for place in range(len(table.columns)) if not place or any(_told(cells[place]) for cells in rows)]
    columns = [table.columns[place] for place in kept]
    groups = [(name, [[cells[place] for place in kept] for cells in own]) for name, own in groups]
    bare = _Set(columns, [], groups, {}, small=True)
    heads = [_heading(column, place, groups, clean) for place, column in enumerate(columns)]
    full = replace(bare, heads=heads)
    if full.width <= TWO_COLUMNS and not any(column.long for column in columns):
        return full
    whole = _wrapped(full)
    if whole.width <= TWO_COLUMNS and all(not place or columns[place].left for place in whole.wrapped):
        return whole
    bare_columns = [replace(one, unit="") if one.unit and one.unit in one.under else one for one in columns]
    heads = [_heading(column, place, groups, clean) for place, column in enumerate(bare_columns)]
    plain = replace(full, columns=bare_columns, heads=heads, small=False)
    return plain if plain.width <= TWO_COLUMNS else _wrapped(plain)


def _wrapped(table: _Set) -> _Set:
    """Return a table whose widest texts are wrapped, to about the same width, until it fits if it can."""
    natural, least = table.widths, [_least(table, place) for place in range(len(table.columns))]
    room, cap = TWO_COLUMNS - _GAP * len(natural), max(natural)

    def capped(most: float) -> list[float]:
        return [min(wide, max(low, most)) for low, wide in zip(least, natural, strict=True)]

    while sum(capped(cap)) > room and cap > _LEAST:
        cap -= 1.0
    wrapped = {place: wide for place, wide in enumerate(capped(cap)) if wide < natural[place]}
    heads = [_lines(" ".join(lines), wrapped.get(place, natural[place])) for place, lines in enumerate(table.heads)]
    return replace(table, wrapped=wrapped, heads=heads)


def _least(table: _Set, place: int) -> float:
    """Return how narrow a column may be: as wide as its widest word."""
    texts = [cells[place].line for _, rows in table.groups for cells in rows] + [" ".join(table.heads[place])]
    return max(_LEAST, *(width_of(word) for text in texts for word in text.split(" ")))


def _clean(cell: Cell, clean: Callable[[str], str]) -> Cell:
    """Return a cell in clean text; where there is small print only, that is the text."""
    small = tuple(part._replace(text=clean(part.text)) for part in cell.small)
    if not cell.line and small:
        return Cell("; ".join(part.text for part in small))
    return Cell(clean(cell.text), clean(cell.beside), small, cell.css)


def _told(cell: Cell) -> bool:
    """Return whether anything stands in a cell."""
    return cell.line not in ("", DASH) or any(part.text != DASH for part in cell.small)


def _heading(
    column: Column[Any], place: int, groups: Sequence[tuple[str, list[list[Cell]]]], clean: Callable[[str], str]
) -> list[str]:
    """Return the lines of a heading, about as long as what stands below it."""
    longest = max((len(cells[place].line) for _, rows in groups for cells in rows), default=0)
    words = clean(column.title)
    most = max(longest, 9, *(len(word) for word in words.split())) if words else 1
    return textwrap.wrap(words, most) or [""]


def _float(section: Section, table: Table[Any], label: str, clean: Callable[[str], str], part: int) -> str:
    """Return a table as a float of one or of both columns."""
    own = _fitted(table, clean)
    names = [width_of(name) for name, _ in own.groups]
    both = max(own.width, *names) > ONE_COLUMN
    star = "*" if both else ""
    look = "footnotesize", "3pt"
    if own.width > TWO_COLUMNS:  # many columns, none of which can be wrapped
        look = "scriptsize", "2pt"
    notes = [clean(text) for text in (section.lead, table.lead, table.note, section.note) if text]
    title = clean(section.title) + (f", {clean(table.name)}" if table.name else "")
    told = f"{escaped(title)}{' (continued)' if part > 1 else ''}"
    if section.reference:
        told += f" ({escaped(clean(section.reference))})"
    lines = [
        *(f"% {escaped(text)}" for text in notes * (part == 1)),
        f"\\begin{{table{star}}}",
        "\\centering\\{}\\setlength{{\\tabcolsep}}{{{}}}".format(*look),
        f"\\caption{{{told}.}}",
        f"\\label{{{label}}}",
        f"\\begin{{tabular}}{{{''.join(_column(own, place) for place in range(len(own.columns)))}}}",
        "\\toprule",
        *_spans(own, clean),
        " & ".join(_stacked(own.columns[place], lines, place) for place, lines in enumerate(own.heads)) + r" \\",
        "\\midrule",
        *_rows(own),
        "\\bottomrule",
        "\\end{tabular}",
        f"\\end{{table{star}}}",
    ]
    return "\n".join(lines) + "\n"


def _column(table: _Set, place: int) -> str:
    if place in table.wrapped:
        return f">{{\\raggedright\\arraybackslash}}p{{{table.wrapped[place]:.0f}pt}}"
    return "l" if table.columns[place].left or not place else "r"


def _spans(table: _Set, clean: Callable[[str], str]) -> Iterator[str]:
    """Yield the row of headings over several columns, if there is one."""
    if not any(column.span for column in table.columns):
        return
    cells, place = [], 0
    for column, count, _ in Table("", table.columns, []).heads:
        room = sum(table.widths[place : place + count]) + _GAP * (count - 1)
        place += count
        lines = _lines(clean(column.span), room)
        cells.append(f"\\multicolumn{{{count}}}{{c}}{{{_stack(lines, 'c')}}}" if column.span else "")
    yield " & ".join(cells) + r" \\"


def _lines(text: str, room: float) -> list[str]:
    """Return a text in lines of about a width in points."""
    longest = max(map(len, text.split()), default=1)
    return textwrap.wrap(text, max(longest, int(len(text) * room / max(width_of(text), 1.0)))) or [""]


def _stack(lines: Sequence[str], side: str) -> str:
    """Return lines below each other."""
    told = [escaped(line) for line in lines]
    return told[0] if len(told) == 1 else f"\\shortstack[{side}]{{{(chr(92) * 2).join(told)}}}"


def _stacked(column: Column[Any], lines: Sequence[str], place: int) -> str:
    """Return a heading of one line or several."""
    text = _stack(lines, "l" if column.left or not place else "r")
    return f"\\textit{{{text}}}" if column.theirs else text


def _rows(table: _Set) -> Iterator[str]:
    """Yield the rows by group, small print below each."""
    count = len(table.columns)
    for number, (name, rows) in enumerate(table.groups):
        if number:
            yield "\\addlinespace"
        if name:
            wide = f"p{{{TWO_COLUMNS - _GAP:.0f}pt}}" if width_of(name) > TWO_COLUMNS - _GAP else "l"
            yield f"\\multicolumn{{{count}}}{{{wide}}}{{{escaped(name)}}} \\\\"
        for cells in rows:
            texts = [f"\\textbf{{{escaped(cell.line)}}}" if cell.css == BEST else escaped(cell.line) for cell in cells]
            yield (
                " & ".join(
                    f"\\textit{{{text}}}" if column.theirs else text
                    for text, column in zip(texts, table.columns, strict=True)
                )
                + r" \\"
            )
            for depth in range(max(len(cell.small) for cell in cells) * table.small):
                small = (cell.small[depth].text if depth < len(cell.small) else "" for cell in cells)
                yield " & ".join(f"\\scriptsize {escaped(text)}" if text else "" for text in small) + r" \\"
