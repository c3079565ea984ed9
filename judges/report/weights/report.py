"""The folder of the audit of a model's file -> one self-contained HTML page and its tables in Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.text import Text

from judges.figures.files import write_figures
from judges.report.answer import Answer
from judges.report.console import Printed
from judges.report.membership.answer import answer as answer_of_memberships
from judges.report.membership.answer import leaked, strongest
from judges.report.membership.statement import attacks_part as membership_part
from judges.report.membership.tables import results_table
from judges.report.model_inversion.answer import answer as answer_of_inversions
from judges.report.model_inversion.pictures import albums_in, pictures_section
from judges.report.model_inversion.sentences import findings
from judges.report.model_inversion.statement import attacks_part as inversion_part
from judges.report.page import write_page
from judges.report.rounds.audited import untried_table
from judges.report.rounds.threats import THREATS
from judges.report.statements import Part
from judges.report.table import Section
from judges.report.words import read_words
from judges.runs.manifest import read_manifest, threats_of, untried_threats, without_people
from judges.summaries.membership import read_memberships
from judges.summaries.model_inversion import read_inversions

WORDS = read_words(Path(__file__).with_name("words.toml"))

INVERSION, MEMBERSHIP = "model_inversion", "membership"
_TONES = ("yes", "some", "no", "open")
"""Tones of answers, that which says most first."""


class Found(NamedTuple):
    """What a threat's own run says: its answer, its findings, the part of a statement on its attacks, and sections."""

    answer: Answer
    findings: Sequence[str]
    attacks: Part
    sections: Sequence[Section]


def write_weights_report(run_dir: Path, *, show_faces: bool = False, figures: bool = False) -> Path:  # noqa: ARG001
    """Write the three files of the report into a folder and return the path of the HTML page.

    Args:
        run_dir: holds config.toml, manifest.json and the folders of the threats.
        show_faces: as of other reports.
        figures: removes those of an earlier call; the figures are those of the threats.

    Raises:
        DataError: one of the files is missing or corrupt.
    """
    manifest, found = read_manifest(run_dir), found_in(run_dir, show_faces=show_faces)
    write_figures(run_dir, {})
    first, *rest = [section for one in found.values() for section in one.sections]
    told = [text for one in found.values() for text in one.findings] or ["No attack was scored in this run."]
    return write_page(
        run_dir,
        manifest,
        [*rest, *_untried(manifest)],
        words=WORDS,
        findings=told,
        answer=answer(found),
        first=first,
    )


def results_of_weights(run_dir: Path) -> Printed:
    """Return what the threats found in a sentence each, for a terminal; their own runs have the tables."""
    return Printed(Text(answer(found_in(run_dir)).headline))


def found_in(run_dir: Path, *, show_faces: bool = False) -> dict[str, Found]:
    """Return what the threats in a folder found; a DataError if a file of theirs is missing or corrupt."""
    return {threat: _READ[threat](run_dir / threat, show_faces) for threat in threats_of(run_dir)}


def answer(found: Mapping[str, Found]) -> Answer:
    """Return the answers of all threats as one."""
    answers = [one.answer for one in found.values()]
    lines: dict[str, list[str]] = {}
    for one in answers:
        for term, told in one.lines:
            lines.setdefault(term, []).extend(told)
    lines = {term: [text for text in told if not _is_in(text, told)] for term, told in lines.items()}
    tone = min((one.tone for one in answers), key=_TONES.index, default="open")
    return Answer(" ".join(one.headline for one in answers), tone, list(lines.items()))


def _is_in(text: str, others: Sequence[str]) -> bool:
    """Return whether another text says the same and more."""
    return any(other != text and other.startswith(text) for other in others)


def _untried(manifest: Mapping[str, Any]) -> Iterator[Section]:
    """Yield the section on the threats that were not attempted, if there are any."""
    rows = [(THREATS[threat].name, why) for threat, why in untried_threats(manifest).items()]
    if rows:
        yield Section("untried", "Not attempted", [untried_table(rows)])


def _of_inversions(run_dir: Path, show_faces: bool) -> Found:
    manifest, summary = read_manifest(run_dir), read_inversions(run_dir / "summary.json")
    part = inversion_part(summary)
    pictures = pictures_section(
        albums_in(run_dir, summary), summary, lambda name: show_faces or without_people(manifest, name)
    )
    attacks = Section("inversion", "Model inversion", [part.table] if part.table else [], note=WORDS.notes["inversion"])
    return Found(answer_of_inversions(summary), findings(summary), part, [pictures, attacks])


def _of_memberships(run_dir: Path, show_faces: bool) -> Found:  # noqa: ARG001 - as of the other
    summary = read_memberships(run_dir / "summary.json")
    told = [f"{leaked(cell)}." for cell in strongest(summary)]
    table = results_table(summary, controls=False)
    attacks = Section("membership", "Membership inference", [table], note=WORDS.notes["membership"])
    return Found(answer_of_memberships(summary), told, membership_part(summary), [attacks])


_READ = {INVERSION: _of_inversions, MEMBERSHIP: _of_memberships}
