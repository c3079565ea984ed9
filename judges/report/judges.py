"""The table of the judges: what they are, and how much they know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fl_sim.records import Scalar
from judges.report.formats import DASH, out_of_100
from judges.report.table import Cell, Column, Group, Section, Table


class Judge(NamedTuple):
    """A judge: its name, its facts, and its accuracy on what the victims really are, where it was measured."""

    name: str
    facts: Mapping[str, Scalar]
    ceiling: float | None

    def accuracy(self, fact: str) -> str:
        """Return one of its accuracies in per cent; a dash where there is none."""
        share = self.facts.get(fact)
        return f"{out_of_100(share)} %" if isinstance(share, float) else DASH

    @property
    def described(self) -> Cell:
        """Return what it is, and how long it was trained."""
        name, epochs = self.facts.get("name", DASH), self.facts.get("epochs")
        return Cell(str(self.facts.get("description", name)), under=(f"{name}, {epochs} epochs" if epochs else "",))

    @property
    def trained(self) -> Cell:
        """Return how many examples it was trained on, and how many were held out."""
        held_out = f"held out {self.facts['n_test']}" if self.facts.get("n_test") else ""
        return Cell(str(self.facts.get("n_train", DASH)), under=(held_out,))


def judges_section(
    judges: Mapping[str, Mapping[str, Scalar]], ceilings: Mapping[str, float | None], on_truth: str, note: str
) -> Section:
    """Return the section on the judges.

    Args:
        judges: {name: facts}, see `judges.classifiers.cache.Judge.facts`.
        ceilings: {name: accuracy on what the victims really are}, where it was measured.
        on_truth: heading of those accuracies.
        note: how they are read.
    """
    columns: list[Column[Judge]] = [
        Column("Data set", lambda judge: judge.name),
        Column("Judge", lambda judge: judge.described, left=True, under="training"),
        Column("Trained on", lambda judge: judge.trained, under="held out"),
        Column("Train accuracy", lambda judge: judge.accuracy("train_accuracy")),
        Column("Held-out accuracy", lambda judge: judge.accuracy("accuracy")),
        Column(on_truth, lambda judge: DASH if judge.ceiling is None else f"{out_of_100(judge.ceiling)} %"),
        Column("Chance", lambda judge: judge.accuracy("chance")),
    ]
    rows = [Judge(name, facts, ceilings[name]) for name, facts in judges.items()]
    return Section("judges", "The judge", [Table("Judges", columns, [Group(rows)], css="plain")], note=note)
