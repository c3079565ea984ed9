"""What can be read off the updates without a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from judges.report.formats import DASH, between, digits, joined, out_of_100, percent
from judges.report.gradient_inversion import NOTES
from judges.report.table import Cell, Column, Group, Section, Table
from judges.runs.measures import Readable
from judges.runs.names import group_name

_HOW = {
    "told": "told by the clients",
    "bias": "by the biases",
    "weights": "by the weights",
    "counts": "counted",
    "": "not readable",
}
_MOST_CLASSES = 12


def reads_section(reads: Sequence[Readable]) -> Section:
    """Return the section on what can be read off."""
    columns: list[Column[Readable]] = [
        Column("Updates of", group_name),
        Column("Updates", _updates, unit="examples", under="examples"),
        Column("Labels certain, %", _labels, unit="how they are read", under="how they are read"),
        Column("Labels", lambda one: histogram_line(one.histogram), unit="of all updates", left=True),
        Column("Residual, %", _residual, unit="median error", under="median error"),
        Column("Active features, %", lambda one: out_of_100(one.active), unit="of the last layer"),
        Column("Closed form, %", _closed_form, unit="median error", under="what, and median error"),
        Column("Different examples", _examples, unit="at least", under="modified"),
    ]
    title = "What can be read off"
    table = Table(title, columns, [Group(reads)], css="results layout vitals", note=NOTES["reads"])
    return Section("reads", title, [table])


def histogram_line(histogram: Mapping[str, int]) -> str:
    """Return how often each class was read, "0: 3, 7: 1"; of many classes, their number; a dash for none."""
    if not histogram:
        return DASH
    if len(histogram) > _MOST_CLASSES:
        return f"{sum(histogram.values())} of {len(histogram)} classes"
    return joined(*(f"{label}:\N{NO-BREAK SPACE}{count}" for label, count in histogram.items()))


def _updates(one: Readable) -> Cell:
    return Cell(str(one.updates), under=(str(one.examples),))


def _labels(one: Readable) -> Cell:
    words = [_HOW.get(how, how) for how in one.how]
    counts = list(one.how.values())
    named = words if len(words) == 1 else [f"{word} {count}" for word, count in zip(words, counts, strict=True)]
    return Cell(out_of_100(one.certain), under=(joined(*named),))


def _residual(one: Readable) -> Cell:
    return Cell(out_of_100(one.residual), under=("" if one.residual_error is None else digits(one.residual_error),))


def _closed_form(one: Readable) -> Cell:
    share = sum(one.inputs.values()) / one.updates
    if one.input_error is None:
        return Cell(out_of_100(share))
    return Cell(out_of_100(share), under=(joined(*one.inputs), digits(one.input_error)))


def _examples(one: Readable) -> Cell:
    modified = "" if one.unmodified == 1.0 else f"{percent(1.0 - one.unmodified)} modified"
    if one.fewest is None or one.most is None:
        return Cell(DASH, under=(modified,))
    return Cell(between(str(one.fewest), str(one.most)), under=(modified,))
