"""Verdicts on model inversions: whether classes were recovered, and if not, whether the model or the attack is why."""

from __future__ import annotations

from collections.abc import Sequence

from judges.intervals import Rate
from judges.runs.rows.classes import ClassScore

RECOVERED = "classes recovered"
PARTLY = "some classes recovered"
TRACES = "traces of the classes"
FOOLED = "fools the target only"
FAILED = "attack failed"
DIVERGED = "diverged"
BLIND = "the judge cannot tell"
CONTROL = "control"
VERDICTS = (RECOVERED, PARTLY, TRACES, FOOLED, FAILED, DIVERGED, BLIND, CONTROL)

CONVINCED = 0.5
"""Posterior of the attacked class above which the target counts as convinced."""


def verdict_on(
    rows: Sequence[ClassScore], accuracy: Rate, daa: Rate, *, noise: float | None, ceiling: float | None
) -> tuple[str, str]:
    """Return the verdict in words, and the reason for it.

    It depends on whether the attack ended in finite numbers; whether the judge sees the class more often than in the
    same values in random order; whether the attack reached its own aim, the target's belief; whether the judge could
    have recognised the class; and whether it can at least distinguish the answers of different classes. "fools the
    target only" refers to this attack: the target believes in inputs that show nothing, but a better attack might find
    something.

    Args:
        rows: rows of one cell.
        accuracy: how often the judge's first class is the attacked one.
        daa: how often an answer is distinctive.
        noise: attack accuracy of the same values in random order; None if it was not measured.
        ceiling: attack accuracy of real examples; None if it was not measured.
    """
    if rows[0].is_control:
        return CONTROL, "needs no model"
    lost = sum(row.diverged for row in rows)
    beliefs = [row.target_confidence or 0.0 for row in rows]
    convinced = sum(belief > CONVINCED for belief in beliefs)
    reason = f"the target believes in {convinced} of {len(rows)} answers, the judge in {accuracy.count}"
    reason += _in_controls(noise, ceiling)
    floor = max(noise or 0.0, 1.0 / len({row.label for row in rows}))
    if 2 * lost >= len(rows):
        return DIVERGED, f"{lost} of {len(rows)} attacks diverged; {reason}"
    if accuracy.low > floor:
        return (RECOVERED if accuracy.share >= 0.5 else PARTLY), reason
    if 2 * convinced < len(rows):
        return FAILED, f"{reason}: nothing follows about the model"
    if ceiling is not None and ceiling <= 2 * floor:
        return BLIND, reason
    if daa.low > floor:
        return TRACES, f"{reason}; answers of different classes are told apart in {daa.count} of {daa.of} cases"
    return FOOLED, reason


def _in_controls(noise: float | None, ceiling: float | None) -> str:
    """Return the controls' attack accuracies in brackets, or ""."""
    controls = {"noise": noise, "real ones": ceiling}
    shares = [f"{100 * share:.0f} % of {name}" for name, share in controls.items() if share is not None]
    return f" (and in {' and '.join(shares)})" if shares else ""
