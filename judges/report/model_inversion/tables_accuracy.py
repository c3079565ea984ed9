"""How good the targets are, and how good their judges, in the layout of the paper's Tables 1 and 2."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from judges.report.formats import DASH, counted, out_of_100, spread
from judges.report.model_inversion.wording import NOTES, is_spiking, model_name
from judges.report.table import Cell, Column, Group, Section, Table
from judges.runs.class_rows import CENTRAL
from judges.summaries import published_inversions as published
from judges.summaries.model_inversion import Inversions, TargetSummary, judge_key


class Accuracy(NamedTuple):
    """How well networks do what they were trained for.

    Attributes:
        text: mean and deviation out of 100.
        note: which networks, and how many.
        published: the paper's, in [0, 1]; None where it has none.
    """

    text: str
    note: str
    published: float | None


class AccuracyRow(NamedTuple):
    """A line of Table 1 or 2: networks without and with spikes, on one data set."""

    dataset: str
    ann: Accuracy | None
    snn: Accuracy | None


Told = Mapping[str, Sequence[tuple[bool, Accuracy]]]
"""{data set: (whether it spikes, how well it does) of each network}."""


def accuracy_sections(summary: Inversions) -> Iterator[Section]:
    """Yield Tables 1 and 2, the targets that were trained centrally and their judges, where there are any."""
    for number, id_, title, told in (
        (1, "targets", "Accuracy of the targets", _targets(summary)),
        (2, "classifiers", "Accuracy of the evaluation classifiers", _judges(summary)),
    ):
        rows = [row for dataset, own in told.items() for row in _side_by_side(dataset, own)]
        if rows:
            every = [item for row in rows for item in (row.ann, row.snn) if item]
            paper = any(item.published is not None for item in every)
            several = any("\N{PLUS-MINUS SIGN}" in item.text for item in every)
            theirs = f" {NOTES[f'{id_}_paper']}" if paper and number == 2 else ""
            columns: list[Column[AccuracyRow]] = [
                Column("Data set", lambda row: row.dataset),
                *_columns("ANN", lambda row: row.ann, paper=paper, several=several),
                *_columns("SNN", lambda row: row.snn, paper=paper, several=several),
            ]
            css, note = "results layout inverted narrow", f"{NOTES[id_]}{theirs}"
            table = Table(f"Table {number}", columns, [Group(rows)], css=css, note=note)
            yield Section(id_, title, [table], reference=f"Table {number}")


def _columns(
    span: str, of: Callable[[AccuracyRow], Accuracy | None], *, paper: bool, several: bool
) -> Iterator[Column[AccuracyRow]]:
    """Yield the columns of one kind of network, the paper's only where it has a number."""

    def ours(row: AccuracyRow) -> Cell:
        told = of(row)
        return Cell(told.text, under=(told.note,)) if told else Cell(DASH)

    def theirs(row: AccuracyRow) -> str:
        told = of(row)
        return out_of_100(told.published) if told and told.published is not None else ""

    yield Column("ours, %", ours, span=span, under="which", aligned=several)
    if paper:
        yield Column("paper", theirs, span=span, theirs=True)


def _targets(summary: Inversions) -> Told:
    """Return the targets that were trained centrally."""
    told: dict[str, list[tuple[bool, Accuracy]]] = {}
    for target in summary.targets:
        if target.source == CENTRAL:
            told.setdefault(target.dataset, []).append((is_spiking(target), _of_target(target)))
    return told


def _judges(summary: Inversions) -> Told:
    """Return the judges of those targets."""
    known = {target.dataset for target in summary.targets if target.published is not None}
    judges = {(cell.dataset, cell.judge): is_spiking(cell) for cell in summary.cells if cell.source == CENTRAL}
    told: dict[str, list[tuple[bool, Accuracy]]] = {}
    for (dataset, name), spiking in judges.items():
        told.setdefault(dataset, []).append((spiking, _of_judge(summary, dataset, name, dataset in known)))
    return told


def _of_target(target: TargetSummary) -> Accuracy:
    fitted = "" if target.train_accuracy is None else f", on its training data {out_of_100(target.train_accuracy)}"
    note = f"{model_name(target)}, {counted(target.seeds, 'training')}{fitted}"
    return Accuracy(spread(target.accuracy, target.accuracy_std), note, target.published)


def _of_judge(summary: Inversions, dataset: str, name: str, known: bool) -> Accuracy:
    facts = summary.judges.get(judge_key(dataset, name), {})
    share, fitted = (facts.get(key) for key in ("accuracy", "train_accuracy"))
    note = f", on its training data {out_of_100(fitted)}" if isinstance(fitted, float) else ""
    paper = published.JUDGES.get((dataset, name)) if known else None
    return Accuracy(out_of_100(share if isinstance(share, float) else None), f"{name}, 1 training{note}", paper)


def _side_by_side(dataset: str, told: Sequence[tuple[bool, Accuracy]]) -> list[AccuracyRow]:
    """Return as many lines as it takes to put those without spikes beside those with."""
    ann, snn = ([item for spiking, item in told if spiking == wanted] for wanted in (False, True))
    return [AccuracyRow(dataset, *pair) for pair in itertools.zip_longest(ann, snn)]
