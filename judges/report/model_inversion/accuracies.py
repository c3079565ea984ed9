"""Tables 1 and 2 of a report on model inversions: how good the targets are, and how good their judges."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from judges.report.model_inversion.wording import spread
from judges.runs.class_rows import CENTRAL
from judges.runs.names import model_name
from judges.summaries import published_inversions as published
from judges.summaries.model_inversion import Inversions, InversionSummary, TargetSummary, judge_key

_Of = TypeVar("_Of", TargetSummary, InversionSummary)


@dataclass(frozen=True)
class Accuracy:
    """How well networks do what they were trained for.

    Attributes:
        text: mean and deviation out of 100.
        note: which networks, and how many.
        published: the paper's, in [0, 1]; None where it has none.
    """

    text: str
    note: str
    published: float | None


@dataclass(frozen=True)
class AccuracyRow:
    """A line of Table 1 or 2: networks without and with spikes, on one data set."""

    dataset: str
    ann: Accuracy | None
    snn: Accuracy | None


def target_rows(summary: Inversions) -> list[AccuracyRow]:
    """Return Table 1: the accuracy of the targets that were trained centrally."""
    central = [target for target in summary.targets if target.source == CENTRAL]
    return [
        row
        for dataset, own in _by_dataset(central).items()
        for row in _rows(dataset, [(target.spiking, _of_target(target)) for target in own])
    ]


def judge_rows(summary: Inversions) -> list[AccuracyRow]:
    """Return Table 2: the accuracy of the evaluation classifiers of those targets."""
    central = [cell for cell in summary.cells if cell.source == CENTRAL]
    known = {target.dataset for target in summary.targets if target.published is not None}
    rows = []
    for dataset, own in _by_dataset(central).items():
        judges = {cell.judge: cell.spiking for cell in own}
        told = [(spiking, _of_judge(summary, dataset, name, dataset in known)) for name, spiking in judges.items()]
        rows += _rows(dataset, told)
    return rows


def _of_target(target: TargetSummary) -> Accuracy:
    count = f"{target.seeds} training{'' if target.seeds == 1 else 's'}"
    fitted = "" if target.train_accuracy is None else f", on its training data {100 * target.train_accuracy:.1f}"
    return Accuracy(
        spread(target.accuracy, target.accuracy_std), f"{model_name(target)}, {count}{fitted}", target.published
    )


def _of_judge(summary: Inversions, dataset: str, name: str, known: bool) -> Accuracy:
    facts = summary.judges.get(judge_key(dataset, name), {})
    share, fitted = (facts.get(key) for key in ("accuracy", "train_accuracy"))
    note = f", on its training data {100 * fitted:.1f}" if isinstance(fitted, float) else ""
    paper = published.JUDGES.get((dataset, name)) if known else None
    return Accuracy(spread(share if isinstance(share, float) else None, None), f"{name}, 1 training{note}", paper)


def _rows(dataset: str, told: Sequence[tuple[bool, Accuracy]]) -> list[AccuracyRow]:
    """Return as many lines as it takes to put those without spikes beside those with."""
    ann, snn = ([item for spiking, item in told if spiking == wanted] for wanted in (False, True))
    return [AccuracyRow(dataset, *pair) for pair in itertools.zip_longest(ann, snn)]


def _by_dataset(items: Sequence[_Of]) -> dict[str, list[_Of]]:
    """Return items by data set, in their order."""
    names = dict.fromkeys(item.dataset for item in items)
    return {name: [item for item in items if item.dataset == name] for name in names}
