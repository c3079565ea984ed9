"""The texts of a run: the tokens that clients trained on, and those of the answers, as numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from judges.report.formats import DASH
from judges.report.table import Column, Group, Section, Table
from judges.runs.pictures import ANSWER, TRUTH, Pictures

Row = tuple[Pictures, int]


def text_section(texts: Sequence[Pictures], shown: Callable[[str], bool], note: str) -> Section:
    """Return truth beside answer for the texts of each cell, chosen by rank, and of the answers without a truth.

    Args:
        texts: pictures and answers of a run; those that are no texts are left out.
        shown: whether the inputs of a data set may be shown.
        note: how to read it.
    """
    columns: list[Column[Row]] = [
        Column("Capture", lambda row: row[0].subjects[row[1]]),
        Column("Attack", lambda row: row[0].cell, left=True),
        Column("Rank", lambda row: row[0].roles[row[1]] if row[0].roles else DASH, left=True),
        Column("Truth", lambda row: _written(row, TRUTH), left=True, long=True),
        Column("Answer", lambda row: _written(row, ANSWER), left=True, long=True),
    ]
    rows = list(_rows(one for one in texts if one.texts and shown(one.dataset)))
    table = Table("Texts", columns, [Group(rows)], css="plain numbers", note=note)
    return Section("texts", "Texts: truth beside answer", [table])


def _rows(texts: Iterator[Pictures]) -> Iterator[Row]:
    return ((one, at) for one in texts for at in range(len(one.roles or one.subjects)))


def _written(row: Row, kind: str) -> str:
    one, at = row
    return one.texts[kind][at] if kind in one.texts else DASH
