"""A run of model inversions on one page for a data-protection officer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from judges.report.formats import counted, joined, out_of_100, percent, percent_interval
from judges.report.model_inversion.findings import SAYS_NOTHING
from judges.report.model_inversion.sentences import findings
from judges.report.model_inversion.tables import last_rounds
from judges.report.model_inversion.wording import WORDS
from judges.report.statements import (
    NO_EVIDENCE,
    Account,
    Fact,
    Part,
    Statement,
    cut,
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
from judges.summaries.model_inversion import Inversions, InversionSummary, read_inversions

_MOST_ROWS = 8


def write_inversion_statement(run_dir: Path) -> Path:
    """Write statement.html and statement.md into the folder of a run of model inversions; return the page's path.

    Raises:
        DataError: manifest.json or summary.json is missing or corrupt.
    """
    manifest, summary = read_manifest(run_dir), read_inversions(run_dir / "summary.json")
    parts = [
        _system(summary, manifest),
        Part("The adversary", [Fact("Who", WORDS.threat_model)]),
        attacks_part(summary),
        _limits(summary, manifest),
        origin(run_dir, manifest),
    ]
    told = "Experiment: attacks on trained models alone, for what a class looks like; no update of a client was used."
    headline = cut(findings(summary)[0], longest=700)
    return write_statement(run_dir, Statement(title_of(run_dir, manifest), told, headline, parts))


def account_of_inversions(run_dir: Path) -> Account:
    """Return what a statement of several threats says of a run; a DataError if a file of it is missing or corrupt."""
    manifest, summary = read_manifest(run_dir), read_inversions(run_dir / "summary.json")
    cells = [cell for cell in summary.cells if not cell.is_control]
    system = [fact for fact in _system(summary, manifest).facts if fact.term != "Models"]
    return Account(
        {cell.attack: "" for cell in cells},
        "the trained global model alone, which every client has as well",
        system,
        [cell.verdict for cell in cells],
        _limits(summary, manifest).facts,
    )


def _system(summary: Inversions, manifest: Mapping[str, Any]) -> Part:
    """Return the part on the models that were attacked."""
    last = last_rounds(summary)
    models = [
        f"{target_name(target.target)} ({counted(target.seeds, 'model')}, accuracy {percent(target.accuracy)})"
        for target in summary.targets
        if target.target in last
    ]
    judges = [f"{name}, accuracy {_accuracy(facts)}" for name, facts in summary.judges.items()]
    facts = [Fact("Models", few(models)), data_of(manifest), Fact("Judges", few(judges))]
    return Part("The system that was attacked", [fact for fact in facts if fact.text])


def _accuracy(facts: Mapping[str, Any]) -> str:
    value = facts.get("accuracy")
    return percent(float(value)) if isinstance(value, int | float) else "unknown"


def attacks_part(summary: Inversions) -> Part:
    """Return the part on the attacks, on the models of last rounds: budget and result of each."""
    last = last_rounds(summary)
    cells = [cell for cell in summary.cells if not cell.is_control and cell.target in last]
    cells.sort(key=lambda cell: (cell.verdict in SAYS_NOTHING, -cell.accuracy.share))
    columns: list[Column[InversionSummary]] = [
        Column("Attack", attack_name, left=True),
        Column("On", lambda cell: target_name(cell.target), left=True),
        Column("Answers", lambda cell: str(cell.accuracy.of)),
        Column("Iterations a class", lambda cell: f"{cell.iterations:.0f}"),
        Column("Seconds", lambda cell: f"{cell.seconds:.2g}"),
        Column("Recognised, % [95 %]", lambda cell: _share(cell.accuracy.share, cell.accuracy.low, cell.accuracy.high)),
        Column("DAA, % [95 %]", lambda cell: _share(cell.daa.share, cell.daa.low, cell.daa.high)),
        Column("Verdict", lambda cell: cell.verdict, left=True),
    ]
    if not cells:
        return Part("Attacks and results", [Fact("Attacks", "none was scored")])
    more = (
        f" Of {len(cells)} cells, the {_MOST_ROWS} from which most follows, the most recognised first."
        if len(cells) > _MOST_ROWS
        else ""
    )
    note = "Recognised: the judge takes the answer for the attacked class. DAA and all else: see report.html." + more
    return Part("Attacks and results", table=Table("Results", columns, [Group(cells[:_MOST_ROWS])]), note=note)


def _share(share: float, low: float, high: float) -> str:
    return joined(out_of_100(share), percent_interval((low, high)), by=" ")


def _limits(summary: Inversions, manifest: Mapping[str, Any]) -> Part:
    """Return the part on what was not tried, and from which results nothing follows."""
    facts = [
        Fact("Not tried", "updates of clients, answers for single people, and adversaries who know any example"),
        *_silent([cell for cell in summary.cells if not cell.is_control and cell.verdict in SAYS_NOTHING]),
        *doubts(manifest),
    ]
    return Part("What was not tried, and what cannot be told", facts, note=NO_EVIDENCE)


def _silent(cells: Sequence[InversionSummary]) -> Iterator[Fact]:
    """Yield the cells whose verdict says that nothing follows from them."""
    if cells:
        yield Fact(
            "Nothing follows",
            few([f"{attack_name(cell)} on {target_name(cell.target)}: {cell.verdict}" for cell in cells]),
        )
