"""The table of the judges: what they are, and how much they know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fl_sim.records import Scalar
from judges.report.formats import DASH, out_of_100
from judges.report.table import Cell, Column, Group, Section, Table

Judge = tuple[str, Mapping[str, Scalar], float | None]
"""Its name, its facts, see `judges.classifiers.cache.Judge.facts`, and its accuracy on what the victims really are."""


def judges_sections(
    judges: Mapping[str, Mapping[str, Scalar]], ceilings: Mapping[str, float | None], on_truth: str, note: str
) -> Iterator[Section]:
    """Yield the section on the judges, where there are any.

    Args:
        judges: {name: facts}.
        ceilings: {name: accuracy on what the victims really are, where it was measured}.
        on_truth: heading of those accuracies.
        note: how they are read.
    """
    columns: list[Column[Judge]] = [
        Column("Data set", lambda judge: judge[0]),
        Column("Judge", _described, left=True, under="training"),
        Column("Trained on", _counts, under="held out"),
        Column("Train accuracy", lambda judge: _accuracy(judge[1].get("train_accuracy"))),
        Column("Held-out accuracy", lambda judge: _accuracy(judge[1].get("accuracy"))),
        Column(on_truth, lambda judge: _accuracy(judge[2])),
        Column("Chance", lambda judge: _accuracy(judge[1].get("chance"))),
    ]
    if judges:
        rows = [(name, facts, ceilings[name]) for name, facts in judges.items()]
        table = Table("Judges", columns, [Group(rows)], css="plain", row_css=lambda _: "")
        yield Section("judges", "The judge", [table], note=note)


def _described(judge: Judge) -> Cell:
    """Return what a judge is, and how long it was trained."""
    _, facts, _ = judge
    trained = f"{facts.get('name', DASH)}, {facts['epochs']} epochs" if facts.get("epochs") else ""
    return Cell(str(facts.get("description", facts.get("name", DASH))), under=(trained,))


def _counts(judge: Judge) -> Cell:
    """Return how many examples a judge was trained on, and how many were held out."""
    _, facts, _ = judge
    return Cell(str(facts.get("n_train", DASH)), under=(f"held out {facts['n_test']}" if facts.get("n_test") else "",))


def _accuracy(share: object) -> str:
    """Return an accuracy in per cent; a dash where there is none."""
    return f"{out_of_100(share)} %" if isinstance(share, int | float) else DASH
