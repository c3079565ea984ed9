"""What protects, as far as it was tried, and what was not tried or cannot be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from judges.report.formats import counted, joined
from judges.report.gradient_inversion.answer import passed_over
from judges.report.gradient_inversion.sentences import sentence
from judges.report.gradient_inversion.tables_leaks import ADVERSARIES, outcomes
from judges.report.ladder import climbs
from judges.report.statements import NO_EVIDENCE, Fact, Part, doubts, few
from judges.runs.manifest import CLIENTS, told_controls
from judges.runs.names import attack_name, group_name, line_name
from judges.runs.rows import Score
from judges.summaries.gradient_inversion import Summary
from judges.summaries.verdicts import OPEN, TOO_FEW


def protection(summary: Summary, ladder: Summary | None) -> Part:
    """Return the part on what protects, which only a ladder can tell: of one in the folder, or of the run itself."""
    told = [sentence(climb) for climb in climbs(ladder if ladder is not None else summary)]
    if told:
        return Part("What stops these attacks", [Fact("Ladder", few(told, by=" "))])
    text = (
        "not climbed, so nothing is said about what protects these clients: network, batch, steps, training or defence "
        "(--ladder of an audit, ladder.examples of a config)"
    )
    return Part("What stops these attacks", [Fact("Ladder", text)])


def not_tried(
    summary: Summary,
    scores: Sequence[Score],
    manifest: Mapping[str, Any],
    ladder: Summary | None = None,
    remarks: Sequence[str] = (),
) -> Part:
    """Return the part on what was not tried, what was not scored, and why some results say less than they seem to.

    Args:
        summary: of the run.
        scores: of the run.
        manifest: of the run.
        ladder: the summary of the ladder in the run's folder; None if none was climbed.
        remarks: what is to be said of the ladder, as sentences.
    """
    facts = [
        Fact("Adversaries", _untried(summary, ladder)),
        *_unscored(summary, scores, audit=CLIENTS in manifest),
        *_open(summary),
        *(Fact("Passed over", text) for text in passed_over(scores)[:1]),
        *_checks(summary, ladder),
        *(Fact("Controls", few([told], by=" ")) for told in told_controls(manifest)),
        *doubts(manifest),
        *([Fact("Of the ladder", few(remarks, by=" "))] if remarks else []),
    ]
    return Part("What was not tried, and what cannot be told", facts, note=NO_EVIDENCE)


def _untried(summary: Summary, ladder: Summary | None) -> str:
    """Return which adversaries no attack stood for, and which of them only the ladder had."""
    if all(cell.is_control for cell in summary.cells):
        return "the results of none are known, since no attack was scored"
    tried = _letters(summary)
    climbed = _letters(ladder) - tried if ladder is not None else set()
    letters = [f"{letter} ({knows})" for letter, knows in ADVERSARIES.items() if letter not in tried | climbed]
    on_ladder = f"on the ladder only: {', '.join(sorted(climbed))}" if climbed else ""
    return joined(on_ladder, f"not tried: {'; '.join(letters)}" if letters else "all letters were tried", by="; ")


def _letters(summary: Summary) -> set[str]:
    """Return the letters of the adversaries whose attacks looked for an input."""
    return {cell.adversary for cell in summary.cells if not cell.is_control and cell.is_attempted}


def _unscored(summary: Summary, scores: Sequence[Score], *, audit: bool) -> Iterator[Fact]:
    """Yield how many of the attacked updates could not be scored."""
    updates = sum(one.updates for one in summary.reads)
    captures = {score.victim[:4] for score in scores if not score.is_control}
    if updates > len(captures):
        why = "no client sealed a truth that fits them" if audit else "they have no rows"
        yield Fact(
            "Not scored",
            f"{updates - len(captures)} of {counted(updates, 'update')}: {why}, so nothing is known of the answers",
        )


def _open(summary: Summary) -> Iterator[Fact]:
    """Yield the cells whose verdict says why nothing was found, from which nothing follows; few victims apart."""
    cells = [cell for cell in summary.cells if not cell.is_control and cell.verdict in OPEN]
    few_victims = [cell for cell in cells if cell.verdict == TOO_FEW]
    others = [f"{attack_name(cell)} on {group_name(cell)}: {cell.verdict}" for cell in cells if cell not in few_victims]
    if others:
        yield Fact("Nothing follows", few(others))
    if few_victims:
        least = min(cell.n for cell in few_victims)
        yield Fact(
            "Too few victims",
            joined(
                f"to tell for {counted(len(few_victims), 'cell')}",
                f"the least has {counted(least, 'example')}; a test needs five federations, or batches of a single one",
            ),
        )


def _checks(summary: Summary, ladder: Summary | None) -> Iterator[Fact]:
    """Yield the sanity checks that an attack failed, on these clients or on the ladder, or that none was made."""
    climbed = ladder.checks if ladder is not None else []
    failed = [
        f"{line_name(check)} on {group_name(check)}: that {one.claim} does not hold"
        for check in (*summary.checks, *climbed)
        for one in outcomes(check)
        if one.holds is False
    ]
    if failed:
        yield Fact("Failed checks", few(failed))
    elif not summary.checks and any(not cell.is_control for cell in summary.cells):
        made = "made on the ladder only, where none failed" if climbed else "not made in this run"
        yield Fact("Sanity checks", f"of the attacks were {made}")
