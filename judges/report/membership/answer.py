"""The answer of a run of membership inference in words: what its report says first."""

from __future__ import annotations

from collections.abc import Sequence

from judges.report.answer import Answer, bounded, listed
from judges.report.formats import counted, percent
from judges.report.membership.tables import accuracies, area_text, by_target
from judges.report.words import tone
from judges.runs.names import attack_name, target_name
from judges.summaries.membership import (
    DIFFERENT,
    MEMBERS_TOLD,
    SOME_TOLD,
    VERDICTS,
    Memberships,
    MembershipSummary,
)

_HEADLINES = {
    MEMBERS_TOLD: "Who was in the training can be told better than by chance from {share}.",
    SOME_TOLD: "A few members can be told from {share}.",
    DIFFERENT: "Nothing can be told of {share}: members and others differ without any training.",
}


def answer(summary: Memberships) -> Answer:
    """Return the answer of a run."""
    attacks = [cell for cell in summary.cells if not cell.control]
    if not attacks:
        return Answer("No attack was scored in this run.", "open", [])
    best = strongest(summary)
    lines = [
        ("Attacked", bounded([_attacked(cell) for cell in best], "targets")),
        ("By", [f"{listed(list(dict.fromkeys(map(attack_name, attacks))))}: an adversary who has candidates"]),
        ("Leaked", bounded([leaked(cell) for cell in best], "targets")),
        ("Beware", _beware(attacks)),
    ]
    return Answer(headline(best), tone(min(best, key=_place).verdict), lines)


def strongest(summary: Memberships) -> list[MembershipSummary]:
    """Return the attack with the largest area on each kind of target."""
    attacks = [cell for cell in summary.cells if not cell.control]
    return [min(own, key=lambda cell: (_place(cell), -cell.auc.mean)) for own in by_target(attacks).values()]


def headline(best: Sequence[MembershipSummary]) -> str:
    """Return the result in a sentence, from the strongest attack on each kind of target."""
    first = min(best, key=_place)
    count = sum(cell.verdict == first.verdict for cell in best)
    share = f"{count} of {counted(len(best), 'target')}" if len(best) > 1 else "the target"
    if first.verdict in _HEADLINES:
        return _HEADLINES[first.verdict].format(share=share)
    return f"No attack told members from others, in {share}."


def leaked(cell: MembershipSummary) -> str:
    """Return in words what an attack told, with its interval and its control."""
    caught = cell.caught_1
    at = "" if caught is None else f", {percent(caught.share)} of the members at 1 % of false positives"
    null = "" if cell.null is None else f"; on a model that never saw them {area_text(cell.null)}"
    blind = "" if cell.blind is None else f"; without any model {area_text(cell.blind)}"
    return (
        f"{target_name(cell.target)}: {cell.verdict} by {attack_name(cell)}: area under the ROC curve "
        f"{area_text(cell.auc)}, 95 % interval in brackets{at}{null}{blind}"
    )


def _attacked(cell: MembershipSummary) -> str:
    told = accuracies(cell)
    return f"{target_name(cell.target)}{f' ({told})' if told else ''}"


def _beware(attacks: Sequence[MembershipSummary]) -> list[str]:
    """Return what cannot be told of so few candidates."""
    if all(cell.caught_01 is not None for cell in attacks):
        return []
    return ["True positives at 0.1 % of false ones take at least 1,000 others for each target, and there are fewer."]


def _place(cell: MembershipSummary) -> int:
    return VERDICTS.index(cell.verdict)
