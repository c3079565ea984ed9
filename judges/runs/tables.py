"""Rows as a CSV file: any frozen dataclass of plain values and settings by key, without loss of precision."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_origin, get_type_hints

from fl_sim.errors import DataError
from fl_sim.files import atomic_write
from fl_sim.specs import LATER, Scalar

Row = TypeVar("Row")

_BOTH = "\r\n"
_ESCAPE = "'"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", _ESCAPE)
"""Beginnings of texts that a spreadsheet would run, or that would be taken for escaped ones when they are read."""


_LONGEST_CELL = 2**31 - 1


class Frame(NamedTuple):
    """A CSV file of texts.

    Attributes:
        columns: their names, in the order of the file.
        rows: the texts of each row, as many as there are columns.
    """

    columns: list[str]
    rows: list[list[str]]

    def column(self, name: str) -> list[str]:
        """Return the texts of a column, one for each row."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def without(self, names: Sequence[str]) -> Frame:
        """Return the frame without the columns of these names."""
        kept = [place for place, name in enumerate(self.columns) if name not in names]
        return Frame([self.columns[place] for place in kept], [[row[place] for place in kept] for row in self.rows])


def columns_of(kind: type[Any]) -> tuple[str, ...]:
    """Return the names of the columns of a kind of row."""
    return tuple(field.name for field in dataclasses.fields(kind))


def texts(row: Any) -> list[str]:  # noqa: ANN401 - any dataclass of plain values
    """Return the values of a row as CSV texts, in the order of its columns."""
    return [_text(getattr(row, name)) for name in columns_of(type(row))]


def write_rows(kind: type[Row], rows: Sequence[Row], path: Path) -> Path:
    """Write rows as CSV, atomically; `read_rows` gives back equal rows, floats to the last bit.

    A text that a spreadsheet would run as a formula stands behind an apostrophe, which `read_frame` takes away.
    """
    columns = columns_of(kind)
    cells = [list(map(_escaped, texts(row))) for row in rows]
    return atomic_write(path, "".join(map(_line, [columns, *cells])))


def read_rows(kind: type[Row], path: Path) -> list[Row]:
    """Read the rows that `write_rows` wrote. No column may be missing, since a default would state an unknown fact.

    But for those that this version has added (`LATER`), which are then None: not known.

    Raises:
        DataError: the file is missing, or its columns or a value do not fit the kind of row.
    """
    frame, columns = read_frame(path), set(columns_of(kind))
    found = frame.columns
    later = {field.name for field in dataclasses.fields(kind) if field.metadata == LATER}  # type: ignore[arg-type]
    missing, surplus = sorted(columns - later - set(found)), sorted(set(found) - columns)
    if missing or surplus:
        raise DataError(
            f"{path}: expected the columns of a table of scores as this version writes them; missing: {missing}, "
            f"unknown: {surplus}."
        )
    hints = get_type_hints(kind)
    try:
        return [
            kind(**{name: _value(text, hints[name]) for name, text in zip(found, row, strict=True)})
            for row in frame.rows
        ]
    except ValueError as error:
        raise DataError(f"{path}: a value is not of its column's type ({error}).") from error


def read_frame(path: Path) -> Frame:
    """Return a CSV file of texts, each as it was before it was escaped.

    Raises:
        DataError: the file is missing or no CSV, two columns have one name, or a row is too short or long.
    """
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            columns, *rows = [[_plain(text) for text in line] for line in csv.reader(stream, strict=True) if line]
    except (OSError, ValueError, csv.Error) as error:  # among the ValueErrors: no line at all, and no UTF-8
        raise DataError(f"{path}: expected a table of scores, found no readable CSV ({error}).") from error
    finally:
        csv.field_size_limit(limit)
    twice = sorted({name for name in columns if columns.count(name) > 1})
    odd = next((number for number, row in enumerate(rows, start=1) if len(row) != len(columns)), 0)
    if twice or odd:
        what = f"columns {twice} twice" if twice else f"{len(rows[odd - 1])} values in row {odd}"
        raise DataError(f"{path}: expected a table of scores with {len(columns)} different columns, found {what}.")
    return Frame(columns, rows)


def _line(cells: Sequence[str]) -> str:
    """Return a line of CSV, in which cells with either end of a line are quoted, so that they can be read."""
    text = io.StringIO()
    csv.writer(text, lineterminator=_BOTH).writerow(cells)
    return text.getvalue().removesuffix(_BOTH) + "\n"


def _escaped(text: str) -> str:
    """Return a text behind an apostrophe if a spreadsheet would run it; numbers are what they are."""
    return f"{_ESCAPE}{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _plain(text: str) -> str:
    """Return a text as it was before `_escaped`."""
    return text[1:] if text.startswith(_ESCAPE) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _text(value: Scalar | Mapping[str, Scalar] | None) -> str:
    """Return a value as CSV text: "" for None and an empty mapping, all digits of a float."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return json.dumps(dict(value)) if value else ""
    return repr(value) if isinstance(value, float) else str(value)


def _value(text: str, hint: Any) -> Any:  # noqa: ANN401 - one of the types of a row's fields
    """Return CSV text as a value of the annotated type; a ValueError if that is impossible."""
    if hint is str:
        return text
    optional = type(None) in getattr(hint, "__args__", ())
    if optional and text == "":
        return None
    kind = hint.__args__[0] if optional else hint
    if get_origin(kind) is Mapping:
        return _settings(text)
    if kind is bool:
        if text not in ("True", "False"):
            raise ValueError(f"expected True or False, got {text!r}")
        return text == "True"
    return kind(text)


def _settings(text: str) -> dict[str, Scalar]:
    """Return JSON text as settings by key."""
    try:
        settings = json.loads(text) if text else {}
    except RecursionError as error:
        raise ValueError(f"expected settings in JSON, got {text[:80]!r}") from error
    if not isinstance(settings, dict) or not all(isinstance(value, Scalar) for value in settings.values()):
        raise ValueError(f"expected settings in JSON, got {text[:80]!r}")
    return settings
