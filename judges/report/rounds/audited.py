"""The threats to a recorded federation side by side, as sections of an audit's page and parts of its statement.

They are made of the files of the audit's folder and of the folders of its further threats, as far as these are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from judges.report.answer import listed
from judges.report.rounds.answer import Course, courses, sentence
from judges.report.rounds.drawings import panels_of
from judges.report.rounds.statement import attacks_part, headline
from judges.report.rounds.tables import rounds_table
from judges.report.rounds.threats import THREATS
from judges.report.statements import Account, Fact, Part
from judges.report.table import Column, Group, Section, Table
from judges.report.words import read_words
from judges.runs.manifest import threats_of, untried_threats
from judges.summaries.rounds import Rounds, round_scores, summarise_rounds

_TITLE = "All threats to this federation"
_GRADIENT = next(iter(THREATS))
_NO_SEARCH = "no answer could be scored of an attack that looked for the inputs behind an update"
_NOTE = (
    "Further threats need the global model alone, which every client has as well. Most: the largest mean SSIM, "
    "recognised answers in %, or AUC."
)
_NOTES = read_words(Path(__file__).with_name("words.toml")).notes


@dataclass(frozen=True)
class Audited:
    """The threats of an audit.

    Attributes:
        summary: what those found that were attempted, gradient inversion among them.
        found: their attacks.
        accounts: {further threat: what a statement says of it}.
        untried: {further threat: why it was not attempted}.
    """

    summary: Rounds
    found: Sequence[Course]
    accounts: Mapping[str, Account]
    untried: Mapping[str, str]

    @property
    def lines(self) -> list[str]:
        """Return what became of each further threat, in sentences."""
        told = [f"{sentence(one)}." for one in self.found if one.curve.threat != _GRADIENT]
        return told + [f"{THREATS[threat].name}: not attempted, since {why}." for threat, why in self.untried.items()]

    @property
    def headline(self) -> str:
        """Return what a statement says first of the further threats."""
        further = [one for one in self.found if one.curve.threat != _GRADIENT]
        untried = [THREATS[threat].name for threat in self.untried]
        return " ".join(
            [*([headline(further)] if further else []), *([f"Not attempted: {listed(untried)}."] if untried else [])]
        )

    @property
    def named(self) -> list[tuple[str, str]]:
        """Return (threat in words, why it was not attempted)."""
        searched = any(one.curve.threat == _GRADIENT for one in self.found)
        gradient = [] if searched else [(THREATS[_GRADIENT].name, _NO_SEARCH)]
        return gradient + [(THREATS[threat].name, why) for threat, why in self.untried.items()]


def audited(run_dir: Path, manifest: Mapping[str, Any]) -> Audited | None:
    """Return the threats of the audit in a folder; None where it was asked for gradient inversion alone.

    Args:
        run_dir: of the audit.
        manifest: of the audit.

    Raises:
        DataError: a file of a further threat is corrupt.
    """
    folders = {threat: run_dir / threat for threat in threats_of(run_dir)}
    folders = {threat: path for threat, path in folders.items() if (path / "summary.json").is_file()}
    untried = untried_threats(manifest)
    if not (folders or untried):
        return None
    from judges.kinds import KINDS  # here, since it loads plans, of which a page of one threat has no need

    folders = {_GRADIENT: run_dir, **folders}
    accounts = {threat: KINDS[threat].part("account")(path) for threat, path in folders.items()}
    summary = summarise_rounds(round_scores(folders, run_dir.resolve().name))
    return Audited(summary, courses(summary), accounts, untried)


def audited_sections(one: Audited | None) -> list[Section]:
    """Return the section of a page on all threats; [] where there is but one."""
    if one is None:
        return []
    results = attacks_part(one.summary, one.found, one.accounts).table
    numbers = [rounds_table(one.summary)] if one.summary.curves else []
    tables = [*([results] if results is not None else []), *numbers, *([untried_table(one.named)] if one.named else [])]
    return [Section("threats", _TITLE, [*panels_of(one.summary), *tables], note=_NOTES["audit"])]


def untried_table(named: Sequence[tuple[str, str]]) -> Table[tuple[str, str]]:
    """Return the table of threats that were not attempted, from (threat in words, why)."""
    columns: list[Column[tuple[str, str]]] = [
        Column("Threat", lambda row: row[0]),
        Column("Not attempted, since", lambda row: row[1], left=True, long=True),
    ]
    return Table("Not attempted", columns, [Group(named)], css="plain reasons")


def audited_parts(threats: Audited | None) -> Iterator[Part]:
    """Yield the part of a statement on all threats, where there is more than one."""
    if threats is None:
        return
    part = attacks_part(threats.summary, threats.found, threats.accounts, title=_TITLE)
    further = {THREATS[threat].name: one for threat, one in threats.accounts.items() if threat != _GRADIENT}
    verdicts = "; ".join(f"{name}: {', '.join(dict.fromkeys(one.verdicts))}" for name, one in further.items())
    facts = [Fact(_capital(name), f"not attempted, since {why}") for name, why in threats.named]
    yield Part(part.title, [*part.facts, *facts], part.table, f"{_NOTE} Verdicts: {verdicts}." if verdicts else "")


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
