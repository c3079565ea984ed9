"""Verdicts on cells of gradient inversion: how an attack compares with the controls of the same victims, in words.

If an attack found nothing, the verdict says why, as far as the rows and the model's health show it: the failure of an
attack is not evidence that the data are safe.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from fl_sim.defences import NO_DEFENCE
from judges.intervals import Rate, binomial_greater, least_p, named_by_chance
from judges.runs.measures import Health
from judges.runs.rows import LARGEST_MISMATCH, Score
from judges.summaries.comparison import SIGNIFICANCE, Comparison

MOST = 0.5
"""Share of victims, attacks, updates or labels that decides a cell."""

STANDSTILL = 0.01
"""Share of the data range. An answer with a smaller root mean square distance from its guess is within three of 256
grey levels of it, which the eye cannot distinguish."""

LEAST_FALL = 0.01
"""Smallest relative decrease of the matching loss in a search that works: one outer step of L-BFGS decreases it by
more, rounding in float32 by far less."""

LARGEST_EPSILON = 10.0
"""Largest claimed epsilon that explains why labels are read wrongly; a larger one is hardly any privacy."""

_KEEP_LIFE = ("none", "clip", "noise")
"""Defences that set no entry of an update to 0. With other defences, zeros say nothing about the network."""

RECOVERED = "recovered"
PARTLY = "partly recovered"
TRACES = "traces only"
LABELS = "labels only"
UPDATE_TELLS = "attack failed although the update tells"
NOTHING = "nothing found"
TOO_FEW = "too few victims to tell"
STUCK = "stuck at the guess"
WRONG_LABEL = "wrong label"
DEAD = "dead: the update carries nothing"
WRONG_PROBLEM = "wrong problem"
NOT_ATTEMPTED = "not attempted"
DIVERGED = "diverged"
CONTROL = "control"
OPEN = (UPDATE_TELLS, STUCK, WRONG_LABEL, DIVERGED, DEAD, WRONG_PROBLEM, NOT_ATTEMPTED, TOO_FEW)
"""Verdicts that say why nothing was found; nothing follows from them about what another attack would find."""
VERDICTS = (RECOVERED, PARTLY, TRACES, LABELS, NOTHING, *OPEN, CONTROL)


def verdict_on(
    rows: Sequence[Score], successes: Rate, comparison: Comparison | None, health: Health | None = None
) -> tuple[str, str]:
    """Return the verdict in words, and the reason for it. The verdict is the first of these that holds:

    1. recovered: at least half of the victims are recognisable and above their best control;
    2. partly recovered: some are;
    3. traces only: none, but the SSIMs tend to be above the best control's (p < 0.05);
    4. wrong problem: for at least half of the updates, to which no defence was applied, the attack's own loss at the
       truth is not about 0;
    5. labels only: at least half of the labels are read right, more than by chance (p < 0.05), and no client told them;
    6. not attempted: at least half of the batches are too large for the attack, or the model has no closed form that
       it needs, and it names labels only;
    7. dead: at least half of the updates are 0 outside the output layer;
    8. diverged: at least half of the attacks did;
    9. stuck at the guess: of the others, the median answer is within 0.01 of the data range of its own initial guess;
       if no guess is known, the matching loss of at least half has not decreased by 1 %;
    10. wrong label: the attack names labels, and at least half are not those of the victim's batch, and no noise for
       which an epsilon of at most 10 is claimed explains that;
    11. too few victims to tell: there are controls, but with less than 5 federations, or batches of a single one, no
        SSIMs can tend to be above them (p is at least 0.0625);
    12. attack failed although the update tells: to the updates no defence was applied, and most are not dead;
    13. nothing found.

    4 and 6 to 10 are causes of failure, before their possible effects: on a dead network any search diverges or stalls,
    and an attack that optimises labels along with the inputs has wrong labels if it stalls. The reason names all that
    hold, since an attack may also be stuck because it inferred a wrong label from the update beforehand.

    Pictures smaller than 7x7 have no SSIM: in 1 and 2 "solved" then stands for "recognisable", in 3 MSE for SSIM. A
    text is recognisable if all its tokens are named, in any order, and what stands for SSIM is the mean of the shares
    of its tokens that are named and that are in their places; in 9, 0.01 is a share of its tokens.

    Args:
        rows: rows of the cell.
        successes: how often the answers are recognisable.
        comparison: comparison with the controls; None if there are none.
        health: health of the models under attack; None if it was not measured.
    """
    if rows[0].is_control:
        return CONTROL, "needs nothing of the victim's update"
    lost = sum(row.diverged for row in rows)
    parts = [*_compared(rows[0], successes, comparison), *([f"{lost} of {len(rows)} diverged"] if lost else [])]
    name = _success(successes if comparison is None else comparison.succeeded, comparison)
    if name is not None:
        return name, "; ".join(parts)
    reasons = _causes(rows, lost / len(rows), health) or _without_cause(rows, comparison, health)
    if health is not None and health.all_silent:
        parts = [f"no neuron of {len(health.silent)} spiking layers fired on the inputs", *parts]
    return next(iter(reasons)), "; ".join([*filter(None, reasons.values()), *parts])


def _compared(row: Score, successes: Rate, comparison: Comparison | None) -> list[str]:
    """Return how often an attack, of which `row` is a row, succeeded and how it compares with the controls."""
    success, above, why = "recognisable", "above", []
    if row.token_accuracy is not None:
        success, why = "with all tokens named", ["by the tokens that are named, and in their places"]
    elif row.recognisable is None:
        success, above = "solved", "nearer than"
        why = ["by MSE, since SSIM is not defined for pictures smaller than 7x7"]
    if comparison is None:
        return [f"{successes.count} of {successes.of} {success}", "no controls to compare with", *why]
    p = ("p < 0.001" if comparison.p < 0.001 else f"p = {comparison.p:.3f}").replace(" ", "\N{NO-BREAK SPACE}")
    found = comparison.succeeded
    bounds = f"95 % interval {100 * found.low:.0f} to {100 * found.high:.0f} %".replace(" %", "\N{NO-BREAK SPACE}%")
    return [
        f"{found.count} of {found.of} {success} and {above} their best control ({bounds})",
        f"{comparison.better} of {comparison.victims} {above} it at all (signed-rank {p})",
        *why,
    ]


def _success(succeeded: Rate, comparison: Comparison | None) -> str | None:
    """Return the verdict for how many succeeded, and p against the controls; None if nothing was found."""
    if succeeded.share >= MOST:
        return RECOVERED
    if succeeded.count:
        return PARTLY
    return TRACES if comparison is not None and comparison.p < SIGNIFICANCE else None


def _causes(rows: Sequence[Score], lost: float, health: Health | None) -> dict[str, str]:
    """Return {verdict: evidence} for labels and all causes of an attack's failure; the caller counts divergence."""
    unattempted = sum(row.stop_reason == NOT_ATTEMPTED for row in rows)
    causes = {
        WRONG_PROBLEM: _of_problem(rows),
        LABELS: _of_labels_read(rows, health),
        NOT_ATTEMPTED: f"only labels of {unattempted} of {len(rows)}" if unattempted >= MOST * len(rows) else "",
        DEAD: _of_dead(health),
    }
    if lost < MOST:
        labels = "" if _noise(rows[0]) else _of_labels(rows)
        causes |= {STUCK: _of_standstill([row for row in rows if not row.diverged]), WRONG_LABEL: labels}
    return {name: text for name, text in causes.items() if text} | ({DIVERGED: ""} if lost >= MOST else {})


def _of_problem(rows: Sequence[Score]) -> str:
    """Return how many attacks looked for the wrong thing if most did, or "". A defence is no wrong fact."""
    measured = [row.mismatch for row in rows if row.mismatch is not None and row.defence == NO_DEFENCE]
    wrong = sum(value > LARGEST_MISMATCH for value in measured)
    if not wrong or wrong < MOST * len(measured):
        return ""
    return (
        f"for {wrong} of {len(measured)} the update of the truth, as the attack computes it, is not the captured one: "
        "a fact about the client is wrong, or it drew random numbers"
    )


def _of_dead(health: Health | None) -> str:
    """Return the evidence that updates carry nothing, or ""."""
    if health is None or health.dead < MOST or health.defence not in _KEEP_LIFE:
        return ""
    return f"{round(health.dead * health.captures)} of {health.captures} updates are exactly 0 outside the output layer"


def _of_standstill(rows: Sequence[Score]) -> str:
    """Return the evidence that searches that did not diverge have stalled, or ""."""
    parts = []
    moves = [row.moved for row in rows if row.moved is not None]
    if moves and median(moves) >= STANDSTILL:
        return ""  # a loss that is mostly a defence's noise hardly decreases, however far the search gets
    if moves:
        of = "the data range" if rows[0].token_accuracy is None else "their tokens"
        parts.append(f"the answers lie a median of {median(moves):.2g} of {of} from the initial guess")
    losses = [(row.first_loss, row.matching_loss) for row in rows if row.first_loss is not None]
    still = sum(last >= (1.0 - LEAST_FALL) * first for first, last in losses if math.isfinite(first))
    if losses and still >= MOST * len(losses):
        parts.append(f"the matching loss fell by less than {100 * LEAST_FALL:g} % for {still} of {len(losses)}")
    return "; ".join(parts)


def _of_labels(rows: Sequence[Score]) -> str:
    """Return how many labels are wrong if most are; "" if they are not, or if none are named."""
    named = sum(row.label_recovered >= 0 for row in rows)
    wrong = named - sum(row.label_found for row in rows)
    return f"{wrong} of {named} labels named wrongly" if named and wrong >= MOST * named else ""


def _noise(row: Score) -> str:
    """Return the claim that explains why even labels cannot be read, or ""."""
    if row.epsilon is None or row.epsilon > LARGEST_EPSILON:
        return ""
    return f"the defence's noise gives epsilon {row.epsilon:.3g} at delta {row.delta:.3g} for each {row.privacy_unit}"


def _of_labels_read(rows: Sequence[Score], health: Health | None) -> str:
    """Return how many labels an attack read if most are right and chance does not explain it, or ""."""
    found = sum(row.label_found and row.label_recovered >= 0 for row in rows)
    if health is None or health.told_labels or found < MOST * len(rows):
        return ""
    chance = chance_of_labels(rows, health) or 0.0
    if binomial_greater(found, len(rows), chance) >= SIGNIFICANCE:
        return ""
    return f"{found} of {len(rows)} labels read right, {chance * len(rows):.2g} by chance"


def chance_of_labels(rows: Sequence[Score], health: Health | None) -> float | None:
    """Return the share of labels that a guess names which knows no update; None without the number of classes."""
    if health is None:
        return None
    batches: dict[object, list[int]] = defaultdict(list)
    for row in rows:
        batches[row.seed, row.repeat, row.capture_id].append(row.label)
    return sum(named_by_chance(labels, round(1 / health.chance)) for labels in batches.values()) / len(rows)


def _without_cause(rows: Sequence[Score], comparison: Comparison | None, health: Health | None) -> dict[str, str]:
    """Return {verdict: evidence} for an attack that found nothing, for no known cause."""
    if comparison is not None and not comparison.can_tell:
        return {TOO_FEW: f"with {comparison.units} to compare, p is at least {least_p(comparison.units):.3f}"}
    if health is not None and health.defence == NO_DEFENCE:
        alive = health.captures - round(health.dead * health.captures)
        return {UPDATE_TELLS: f"{alive} of {health.captures} updates are not 0 outside the output layer"}
    adversary, noise = rows[0].adversary, _noise(rows[0])
    tried = f"tried by adversary {adversary}" if adversary else ""
    return {NOTHING: "; ".join(filter(None, [tried, noise, _of_labels(rows) if noise else ""]))}
