"""A run of membership inference on one page for a data-protection officer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from judges.report.formats import DASH, joined, out_of_100, percent_interval
from judges.report.membership.answer import headline, strongest
from judges.report.membership.tables import accuracies, area_text
from judges.report.membership.wording import WORDS
from judges.report.statements import (
    NO_EVIDENCE,
    Account,
    Fact,
    Part,
    Statement,
    data_of,
    doubts,
    few,
    origin,
    title_of,
    write_statement,
)
from judges.report.table import Column, Group, Table
from judges.runs.manifest import read_manifest
from judges.runs.names import attack_name, target_name
from judges.summaries.membership import Memberships, MembershipSummary, read_memberships

_MOST_ROWS = 8


def write_membership_statement(run_dir: Path) -> Path:
    """Write statement.html and statement.md into the folder of a run; return the path of the page.

    Raises:
        DataError: manifest.json or summary.json is missing or corrupt.
    """
    manifest, summary = read_manifest(run_dir), read_memberships(run_dir / "summary.json")
    parts = [
        _system(summary, manifest),
        Part("The adversary", [Fact("Who", WORDS.threat_model)]),
        attacks_part(summary),
        _limits(summary, manifest),
        origin(run_dir, manifest),
    ]
    told = "Experiment: attacks that ask whether an example was in a training. Threat: membership inference."
    best = strongest(summary)
    result = headline(best) if best else "No attack was scored in this run."
    return write_statement(run_dir, Statement(title_of(run_dir, manifest), told, result, parts))


def account_of_memberships(run_dir: Path) -> Account:
    """Return what a statement of several threats says of a run; a DataError if a file of it is missing or corrupt."""
    manifest, summary = read_manifest(run_dir), read_memberships(run_dir / "summary.json")
    cells = [cell for cell in summary.cells if not cell.is_control]
    shadows = "; attacks with shadow models also have examples of other people" * any(cell.shadows for cell in cells)
    return Account(
        {cell.attack: "" for cell in cells},
        f"candidates with their labels, and the global model or one client's update{shadows}",
        [fact for fact in _system(summary, manifest).facts if fact.term != "Targets"],
        [cell.verdict for cell in cells],
        _limits(summary, manifest).facts,
    )


def _system(summary: Memberships, manifest: Mapping[str, Any]) -> Part:
    """Return the part on what was attacked."""
    targets = {cell.target: cell for cell in summary.cells if not cell.control}
    models = [joined(target_name(target), accuracies(cell)) for target, cell in targets.items()]
    facts = [Fact("Targets", few(models)), data_of(manifest)]
    return Part("The system that was attacked", [fact for fact in facts if fact.text])


def attacks_part(summary: Memberships) -> Part:
    """Return the part on the attacks: what each had, and its result."""
    cells = sorted((cell for cell in summary.cells if not cell.control), key=lambda cell: -cell.auc.mean)
    if not cells:
        return Part("Attacks and results", [Fact("Attacks", "none was scored")])
    columns: list[Column[MembershipSummary]] = [
        Column("Attack", attack_name, left=True),
        Column("On", lambda cell: target_name(cell.target), left=True),
        Column("Shadow models", lambda cell: str(cell.shadows)),
        Column("Members + others", lambda cell: f"{cell.members} + {cell.non_members}"),
        Column("AUC [95 %]", lambda cell: area_text(cell.auc)),
        Column("TPR at 1 %, % [95 %]", _caught),
        Column("Never saw them", lambda cell: area_text(cell.null)),
        Column("Without any model", lambda cell: area_text(cell.blind)),
        Column("Verdict", lambda cell: cell.verdict, left=True),
    ]
    more = f" Of {len(cells)} cells, the {_MOST_ROWS} with the largest area." if len(cells) > _MOST_ROWS else ""
    note = (
        "AUC: share of pairs of a member and another in which the member scores higher, 0.5 by chance. TPR: share of "
        "members told while 1 % of the others are taken for members. Never saw them: the same attack on a model "
        "without any of these examples. Without any model: a classifier that sees the examples alone." + more
    )
    return Part("Attacks and results", table=Table("Results", columns, [Group(cells[:_MOST_ROWS])]), note=note)


def _caught(cell: MembershipSummary) -> str:
    rate = cell.caught_1
    if rate is None:
        return DASH
    return joined(out_of_100(rate.share), percent_interval((rate.low, rate.high)), by=" ")


def _limits(summary: Memberships, manifest: Mapping[str, Any]) -> Part:
    """Return the part on what was not tried, and what cannot be told."""
    few_others = [cell for cell in summary.cells if not cell.control and cell.caught_01 is None]
    facts = [Fact("Not tried", "candidates that are only like a member, adversaries who choose what is trained on")]
    if few_others:
        facts.append(Fact("Cannot be told", "true positives at 0.1 % of false ones: fewer than 1,000 others a target"))
    return Part("What was not tried, and what cannot be told", [*facts, *doubts(manifest)], note=NO_EVIDENCE)
