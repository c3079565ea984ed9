"""The answer of a run of model inversion in words: what its report says first."""

from __future__ import annotations

from judges.report.answer import Answer, bounded, listed
from judges.report.formats import counted, percent
from judges.report.model_inversion.tables import beside, by_target, last_rounds
from judges.report.words import tone
from judges.runs.names import attack_name, target_name
from judges.summaries.class_verdicts import PARTLY, RECOVERED, TRACES, VERDICTS
from judges.summaries.model_inversion import Inversions, InversionSummary

_HEADLINES = {
    RECOVERED: "Classes were recovered from {share}.",
    PARTLY: "Some classes were recovered from {share}.",
    TRACES: "Traces of the classes were found in {share}, no class that the judge recognises.",
}


def answer(summary: Inversions) -> Answer:
    """Return the answer of a run: of the global model of a federation that after the last round."""
    last = last_rounds(summary)
    attacks = [cell for cell in summary.cells if not cell.control and cell.target in last]
    if not attacks:
        return Answer("No attack was scored in this run.", "open", [])
    best = [min(own, key=lambda cell: (_place(cell), -cell.accuracy.share)) for own in by_target(attacks).values()]
    names = listed(list(dict.fromkeys(map(attack_name, attacks))))
    lines = [
        ("Attacked", bounded([target_name(cell.target) for cell in best], "models")),
        ("By", [f"{names}: an adversary who has the trained model, and nothing of its training data"]),
        ("Leaked", bounded([_leaked(cell, summary) for cell in best], "models")),
    ]
    return Answer(_headline(best), tone(min(best, key=_place).verdict), lines)


def _place(cell: InversionSummary) -> int:
    return VERDICTS.index(cell.verdict) if cell.verdict in VERDICTS else len(VERDICTS)


def _headline(best: list[InversionSummary]) -> str:
    first = min(best, key=_place)
    count = sum(cell.verdict == first.verdict for cell in best)
    share = f"{count} of {counted(len(best), 'model')}" if len(best) > 1 else "the model"
    if first.verdict in _HEADLINES:
        return _HEADLINES[first.verdict].format(share=share)
    return f"No class was recovered: {first.verdict}, in {share}."


def _leaked(cell: InversionSummary, summary: Inversions) -> str:
    """Return the verdict on a model by the attack that says most about it, with its interval and its controls."""
    seen = cell.accuracy
    known = {name: share for name, share in beside(cell, summary).items() if share is not None}
    controls = ", ".join(f"{name} {percent(share)}" for name, share in known.items())
    sure = f"95 % interval {100 * seen.low:.0f} to {percent(seen.high)}"
    text = f"the judge recognises {seen.count} of {counted(seen.of, 'answer')}, {sure} ({controls})"
    return f"{target_name(cell.target)}: {cell.verdict} by {attack_name(cell)}: {text}"
