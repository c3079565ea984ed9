"""The table of the judges: what they are, and how well they judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fl_sim.records import Scalar
from judges.report.formats import DASH, out_of_100
from judges.report.table import Cell, Column, Group, Section, Table
from judges.runs.names import in_words


class Judge(NamedTuple):
    """A judge with its facts, and its accuracy on what the victims really are, where that was measured."""

    name: str
    facts: Mapping[str, Scalar]  # see `judges.classifiers.cache.Judge.facts`
    ceiling: float | None


def judge_share(facts: Mapping[str, Scalar], name: str) -> float | None:
    """Return a share among the facts of a judge, such as "chance"; None where it was not measured."""
    share = facts.get(name)
    return share if isinstance(share, float) else None


def judges_section(
    judges: Mapping[str, Mapping[str, Scalar]], ceilings: Mapping[str, float | None], on_truth: str, note: str
) -> Section:
    """Return the section on the judges, {name: facts}, with their accuracies on what the victims really are.

    `on_truth` is the heading of those accuracies, `note` says how to read them.
    """
    columns: list[Column[Judge]] = [
        Column("Data set", lambda judge: in_words(judge.name)),
        Column("Judge", _described, left=True, under="training"),
        Column("Trained on", _trained, under="held out"),
        Column("Train accuracy", lambda judge: _percent(judge_share(judge.facts, "train_accuracy"))),
        Column("Held-out accuracy", lambda judge: _percent(judge_share(judge.facts, "accuracy"))),
        Column(on_truth, lambda judge: _percent(judge.ceiling)),
        Column("Chance", lambda judge: _percent(judge_share(judge.facts, "chance"))),
    ]
    rows = [Judge(name, facts, ceilings.get(name)) for name, facts in judges.items()]
    return Section("judges", "The judge", [Table("Judges", columns, [Group(rows)], css="plain")], note=note)


def _described(judge: Judge) -> Cell:
    name, epochs = judge.facts.get("name", DASH), judge.facts.get("epochs")
    return Cell(str(judge.facts.get("description", name)), under=(f"{name}, {epochs} epochs" if epochs else "",))


def _trained(judge: Judge) -> Cell:
    held_out = judge.facts.get("n_test")
    return Cell(str(judge.facts.get("n_train", DASH)), under=(f"held out {held_out}" if held_out else "",))


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{out_of_100(share)} %"
