"""What is said of a cell: how its attack compares with the controls of the same victims, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from judges.intervals import Rate
from judges.rows import Score

SIGNIFICANCE = 0.05
RECOVERED = "recovered"
PARTLY = "partly recovered"
TRACES = "traces only"
NO_BETTER = "no better than the controls"
DIVERGED = "diverged"
ALONE = "not recognisable"
CONTROL = "control"
VERDICTS = (RECOVERED, PARTLY, TRACES, NO_BETTER, ALONE, DIVERGED, CONTROL)


@dataclass(frozen=True)
class Comparison:
    """An attack beside the best control of the same victim, by SSIM. A diverged attack enters with what it answered.

    Attributes:
        victims: how many had a control.
        better: how many SSIMs are above the best control's.
        succeeded: how many of those are recognisable.
        p: one-sided Wilcoxon signed-rank p that the attack's SSIM tends to be above the best control's.
    """

    victims: int
    better: int
    succeeded: int
    p: float


def verdict_on(rows: Sequence[Score], recognisable: Rate, comparison: Comparison | None) -> tuple[str, str]:
    """Return what was observed, in words, and why it is called so.

    recovered: at least half of the victims are recognisable and above their best control; partly recovered: some;
    traces only: none, but the SSIMs tend to be above the best control's (p < 0.05); diverged: none of these, and at
    least half of the attacks diverged; no better than the controls (not recognisable, where there is no control to
    compare with): none of these.
    """
    if rows[0].is_control:
        return CONTROL, "needs no gradient"
    lost = sum(row.diverged for row in rows)
    succeeded = recognisable.count if comparison is None else comparison.succeeded
    of = recognisable.of if comparison is None else comparison.victims
    p = 1.0 if comparison is None else comparison.p
    if comparison is None:
        parts = [f"{succeeded} of {of} recognisable", "no controls to compare with"]
    else:
        text = ("p < 0.001" if p < 0.001 else f"p = {p:.3f}").replace(" ", "\N{NO-BREAK SPACE}")
        parts = [
            f"{succeeded} of {of} recognisable and above their best control",
            f"{comparison.better} of {of} above it at all (signed-rank {text})",
        ]
    parts += [f"{lost} of {len(rows)} diverged"] if lost else []
    return _name(succeeded / of, p, lost / len(rows), comparison is None), "; ".join(parts)


def _name(succeeded: float, p: float, lost: float, alone: bool) -> str:
    """Return the verdict for the share that succeeded, p against the controls, and the share that diverged."""
    if succeeded >= 0.5:
        return RECOVERED
    if succeeded > 0:
        return PARTLY
    if p < SIGNIFICANCE:
        return TRACES
    if lost >= 0.5:
        return DIVERGED
    return ALONE if alone else NO_BETTER
