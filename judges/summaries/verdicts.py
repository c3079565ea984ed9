"""What is said of a cell: how its attack compares with the controls of the same victims, in words.

Where an attack found nothing, the words say why, as far as the rows and the model's health show it: an attack that
failed of itself is not evidence that the data are safe.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from judges.intervals import Rate
from judges.runs.measures import Health
from judges.runs.rows import Score

SIGNIFICANCE = 0.05

MOST = 0.5
"""Half of the victims, attacks, updates or labels count as most of them: what happens to them decides the cell."""

STANDSTILL = 0.01
"""Share of the data range. An answer that is nearer to its guess, root mean square, is within three of 256 grey levels
of it, which no eye tells apart."""

LEAST_FALL = 0.01
"""Share by which the matching loss of a search that works falls at the very least: one outer step of L-BFGS takes off
more, rounding in float32 far less."""

_KEEP_LIFE = ("none", "clip", "noise")
"""Defences that make no entry of an update 0: under another one, zeros say nothing of the network."""

RECOVERED = "recovered"
PARTLY = "partly recovered"
TRACES = "traces only"
NO_BETTER = "trivial: no better than the controls"
ALONE = "not recognisable"
STUCK = "stuck at the guess"
WRONG_LABEL = "wrong label"
DEAD = "dead network"
DIVERGED = "diverged"
CONTROL = "control"
VERDICTS = (RECOVERED, PARTLY, TRACES, NO_BETTER, ALONE, STUCK, WRONG_LABEL, DIVERGED, DEAD, CONTROL)
FAILED = (STUCK, WRONG_LABEL, DIVERGED, DEAD)
"""The verdicts that say why an attack could not work; nothing follows from them about what the update gives away."""


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


def verdict_on(
    rows: Sequence[Score], recognisable: Rate, comparison: Comparison | None, health: Health | None = None
) -> tuple[str, str]:
    """Return what was observed, in words, and why it is called so. The first that holds:

    1. recovered: at least half of the victims are recognisable and above their best control;
    2. partly recovered: some are;
    3. traces only: none, but the SSIMs tend to be above the best control's (p < 0.05);
    4. dead network: at least half of the updates carry nothing outside the output layer, or no neuron ever spiked;
    5. diverged: at least half of the attacks did;
    6. stuck at the guess: of the others, the median answer is within 0.01 of the data range of its own initial guess;
       where no guess is known, the matching loss of at least half has not fallen by 1 %;
    7. wrong label: the attack names labels, and at least half are not those of the victim's batch;
    8. trivial: no better than the controls (not recognisable, where there is no control to compare with).

    4 to 7 are failures, a cause before what may follow from it: on a dead network any search runs away or stands still,
    and an attack that seeks labels along with the inputs has wrong ones where it got nowhere. The reason tells of all
    that hold, since an attack that read a wrong label off the update beforehand may be stuck for that.

    Args:
        rows: of the cell.
        recognisable: how often the answers are.
        comparison: with the controls; None where there are none.
        health: of the models under attack; None where it was not measured.
    """
    if rows[0].is_control:
        return CONTROL, "needs no gradient"
    lost = sum(row.diverged for row in rows)
    succeeded, of, p = recognisable.count, recognisable.of, 1.0
    if comparison is not None:
        succeeded, of, p = comparison.succeeded, comparison.victims, comparison.p
    parts = [*_compared(recognisable, comparison), *([f"{lost} of {len(rows)} diverged"] if lost else [])]
    name = _success(succeeded / of, p)
    if name is not None:
        return name, "; ".join(parts)
    causes = _causes(rows, lost / len(rows), health)
    parts = [text for text in causes.values() if text] + parts
    return next(iter(causes), ALONE if comparison is None else NO_BETTER), "; ".join(parts)


def _compared(recognisable: Rate, comparison: Comparison | None) -> list[str]:
    """Return how often an attack succeeded and how it compares with the controls, in words."""
    if comparison is None:
        return [f"{recognisable.count} of {recognisable.of} recognisable", "no controls to compare with"]
    p = ("p < 0.001" if comparison.p < 0.001 else f"p = {comparison.p:.3f}").replace(" ", "\N{NO-BREAK SPACE}")
    return [
        f"{comparison.succeeded} of {comparison.victims} recognisable and above their best control",
        f"{comparison.better} of {comparison.victims} above it at all (signed-rank {p})",
    ]


def _success(succeeded: float, p: float) -> str | None:
    """Return the verdict for the share that succeeded and p against the controls; None where nothing was found."""
    if succeeded >= MOST:
        return RECOVERED
    if succeeded > 0:
        return PARTLY
    return TRACES if p < SIGNIFICANCE else None


def _causes(rows: Sequence[Score], lost: float, health: Health | None) -> dict[str, str]:
    """Return {verdict: its numbers} of all that kept an attack from finding anything; divergence is counted anyway."""
    causes = {DEAD: _of_dead(health)}
    if lost >= MOST:
        return {name: text for name, text in causes.items() if text} | {DIVERGED: ""}
    causes[STUCK] = _of_standstill([row for row in rows if not row.diverged])
    causes[WRONG_LABEL] = _of_labels(rows)
    return {name: text for name, text in causes.items() if text}


def _of_dead(health: Health | None) -> str:
    """Return what shows that a network is dead; "" where nothing does."""
    if health is None:
        return ""
    parts, of = [], health.captures
    if health.dead >= MOST and health.defence in _KEEP_LIFE:
        parts.append(f"{round(health.dead * of)} of {of} updates are exactly 0 outside the output layer")
    if health.all_silent:
        parts.append(f"no neuron of {len(health.silent)} spiking layers fired on the inputs of {of} updates")
    return "; ".join(parts)


def _of_standstill(rows: Sequence[Score]) -> str:
    """Return what shows that searches that did not diverge got nowhere; "" where nothing does."""
    parts = []
    moves = [row.moved for row in rows if row.moved is not None]
    if moves and median(moves) >= STANDSTILL:
        return ""  # a loss that is mostly noise of a defence hardly falls, however far the search gets
    if moves:
        parts.append(f"the answers lie a median of {median(moves):.2g} of the data range from the initial guess")
    losses = [(row.first_loss, row.matching_loss) for row in rows if row.first_loss is not None]
    still = sum(last >= (1.0 - LEAST_FALL) * first for first, last in losses if math.isfinite(first))
    if losses and still >= MOST * len(losses):
        parts.append(f"the matching loss fell by less than {100 * LEAST_FALL:g} % for {still} of {len(losses)}")
    return "; ".join(parts)


def _of_labels(rows: Sequence[Score]) -> str:
    """Return how many labels are wrong where most are; "" where they are not, or where none is named.

    The labels of a batch are compared as a whole: which of its pictures has which is not known where no picture is.
    """
    batches: dict[tuple[int, int, str], list[Score]] = defaultdict(list)
    for row in rows:
        if row.label_recovered >= 0:
            batches[row.seed, row.repeat, row.capture_id].append(row)
    named = sum(map(len, batches.values()))
    right = sum(
        (Counter(row.label for row in own) & Counter(row.label_recovered for row in own)).total()
        for own in batches.values()
    )
    wrong = named - right
    return f"{wrong} of {named} labels named wrongly" if named and wrong >= MOST * named else ""
