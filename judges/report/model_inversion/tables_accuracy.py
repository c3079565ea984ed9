"""How good the targets are, and how good their judges, in the layout of the paper's Tables 1 and 2."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from judges.report.formats import DASH, counted, grouped, out_of_100, spread
from judges.report.judges import judge_share
from judges.report.model_inversion.wording import NOTES
from judges.report.table import Cell, Column, Group, Section, Table
from judges.runs.names import in_words, model_name
from judges.runs.rows.classes import CENTRAL
from judges.summaries import published_inversions as published
from judges.summaries.model_inversion import Inversions, judge_key


class Accuracy(NamedTuple):
    """How well networks of one kind do on a data set: ours out of 100, which ones, and the paper's if there is one."""

    dataset: str
    spiking: bool
    ours: Cell
    published: float | None


Pair = tuple[Accuracy | None, Accuracy | None]  # networks without and with spikes, on one data set


def accuracy_sections(summary: Inversions) -> tuple[Section, Section]:
    """Return Tables 1 and 2: the targets that were trained centrally, and their judges."""
    judges = list(_judges(summary))
    paper = f" {NOTES['classifiers_paper']}" if any(judge.published is not None for judge in judges) else ""
    return (
        _section(1, "targets", "Accuracy of the targets", list(_targets(summary)), ""),
        _section(2, "classifiers", "Accuracy of the evaluation classifiers", judges, paper),
    )


def _section(number: int, name: str, title: str, accuracies: Sequence[Accuracy], paper: str) -> Section:
    """Return the section of one of the two tables, networks of either kind side by side."""
    rows: list[Pair] = []
    for own in grouped(accuracies, lambda one: one.dataset).values():
        ann, snn = ([one for one in own if one.spiking == kind] for kind in (False, True))
        rows += itertools.zip_longest(ann, snn)
    columns: list[Column[Pair]] = [
        Column("Data set", lambda row: in_words(next(one.dataset for one in row if one))),
        *_columns("ANN", lambda row: row[0], accuracies),
        *_columns("SNN", lambda row: row[1], accuracies),
    ]
    css, note = "results layout inverted narrow", f"{NOTES[name]}{paper}"
    table = Table(f"Table {number}", columns, [Group(rows)], css=css, note=note)
    return Section(name, title, [table], reference=f"Table {number}")


def _columns(
    span: str, of: Callable[[Pair], Accuracy | None], accuracies: Sequence[Accuracy]
) -> Iterator[Column[Pair]]:
    """Yield the columns of one kind of network, the paper's only where it has a number."""

    def ours(row: Pair) -> Cell:
        one = of(row)
        return one.ours if one else Cell(DASH)

    def theirs(row: Pair) -> str:
        one = of(row)
        return out_of_100(one.published) if one and one.published is not None else ""

    several = any("\N{PLUS-MINUS SIGN}" in one.ours.text for one in accuracies)
    yield Column("ours, %", ours, span=span, under="which", aligned=several)
    if any(one.published is not None for one in accuracies):
        yield Column("paper", theirs, span=span, theirs=True)


def _targets(summary: Inversions) -> Iterator[Accuracy]:
    """Yield the targets that were trained centrally."""
    for target in summary.targets:
        if target.source == CENTRAL:
            note = f"{model_name(target)}, {counted(target.seeds, 'training')}{_fitted(target.train_accuracy)}"
            ours = Cell(spread(target.accuracy, target.accuracy_std), under=(note,))
            yield Accuracy(target.dataset, target.spiking, ours, target.published)


def _judges(summary: Inversions) -> Iterator[Accuracy]:
    """Yield the judges of those targets."""
    known = {target.dataset for target in summary.targets if target.published is not None}
    judges = {(cell.dataset, cell.judge): cell.spiking for cell in summary.cells if cell.source == CENTRAL}
    for (dataset, name), spiking in judges.items():
        facts = summary.judges.get(judge_key(dataset, name), {})
        note = f"{name}, 1 training{_fitted(judge_share(facts, 'train_accuracy'))}"
        ours = Cell(out_of_100(judge_share(facts, "accuracy")), under=(note,))
        yield Accuracy(dataset, spiking, ours, published.JUDGES.get((dataset, name)) if dataset in known else None)


def _fitted(share: float | None) -> str:
    return "" if share is None else f", on its training data {out_of_100(share)}"
