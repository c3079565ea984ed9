"""Whether a submission is what it says: the fixed victims, and figures that agree with each other.

Nothing here says that a figure is true. That is for `spikeleak rerun` of the submitter's run to show, whose hashes the
submission has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from attacks import adversary_of
from judges.board.fixed import why_not
from judges.board.submission import Entry, Mean, Rate, Submission, VictimSet
from judges.runs.identity import PROTOCOL, PUBLISHED
from judges.summaries.verdicts import MOST, PARTLY, RECOVERED, VERDICTS

_ROUNDING = 1e-9
_RANGES: Mapping[str, tuple[float, float]] = {"ssim": (-1.0, 1.0), "psnr_db": (0.0, 100.0), "mse": (0.0, math.inf)}
_RATES = ("recovered", "recognisable", "solved")


def flaw(submission: Submission, sets: Mapping[str, VictimSet]) -> str:
    """Return why a submission is refused, the first of several reasons; "" if it is not.

    Args:
        submission: what somebody hands in.
        sets: the fixed victim sets, by name.
    """
    cells = [entry.cell for entry in submission.entries]
    twice = sorted({cell for cell in cells if cells.count(cell) > 1})
    if twice:
        return f"it has two entries of the cell '{twice[0]}'"
    found = (f"{entry.cell}: {why}" for entry in submission.entries for why in _flaws(entry, sets))
    return next(found, "")


def _flaws(entry: Entry, sets: Mapping[str, VictimSet]) -> Iterator[str]:
    """Yield what is wrong with an entry."""
    if why := why_not(entry.victims, sets):
        yield why
    yield from _of_counts(entry)
    for name, (low, high) in _RANGES.items():
        mean: Mean | None = getattr(entry, name)
        if mean is not None:
            yield from _of_mean(name, mean, low, high)
    yield from _of_verdict(entry)
    yield from _of_letter(entry)


def _of_counts(entry: Entry) -> Iterator[str]:
    """Yield which counts do not add up."""
    if entry.n != entry.victims.examples:
        yield f"n is {entry.n}, but its victims have {entry.victims.examples} examples"
    if entry.diverged > entry.n:
        yield f"{entry.diverged} diverged are more than n {entry.n}"
    lost = 0 if entry.varied.get(PROTOCOL) == PUBLISHED else entry.diverged  # there they are scored like others
    rates: dict[str, Rate | None] = {name: getattr(entry, name) for name in _RATES}
    for name, rate in rates.items():
        if rate is None:
            continue
        if rate.of != entry.n or rate.count > rate.of:
            yield f"{name} is {rate.count} of {rate.of}, of n {entry.n}"
        elif abs(rate.share - rate.count / rate.of) > _ROUNDING:
            yield f"the share of {name} is {rate.share:g}, but {rate.count} of {rate.of} is {rate.count / rate.of:g}"
        elif not rate.low - _ROUNDING <= rate.share <= rate.high + _ROUNDING:
            yield f"the interval of {name}, {rate.low:g} to {rate.high:g}, does not contain {rate.share:g}"
        elif rate.count + lost > entry.n:
            yield f"{rate.count} {name} and {lost} diverged are more than n {entry.n}"
    success = entry.recognisable or entry.solved
    if entry.recovered is not None and entry.recovered.count > success.count:
        yield f"{entry.recovered.count} are recovered, but only {success.count} recognisable"
    named = (entry.label_accuracy or 0.0) * entry.n
    if abs(named - round(named)) > _ROUNDING * entry.n:
        yield f"a label accuracy of {entry.label_accuracy:g} is no whole number of {entry.n} labels"


def _of_mean(name: str, mean: Mean, low: float, high: float) -> Iterator[str]:
    """Yield what is wrong with a mean and its interval."""
    if not low <= mean.mean <= high:
        yield f"a mean {name} of {mean.mean:g} is impossible"
    if (mean.low is None) != (mean.high is None):
        yield f"the interval of {name} has one end only"
    if mean.low is not None and mean.high is not None:
        room = _ROUNDING * max(1.0, abs(mean.mean))
        if not mean.low - room <= mean.mean <= mean.high + room:
            yield f"the interval of {name}, {mean.low:g} to {mean.high:g}, does not contain its mean {mean.mean:g}"


def _of_verdict(entry: Entry) -> Iterator[str]:
    """Yield that a verdict is unknown, or another than that of what was recovered."""
    if entry.verdict not in VERDICTS:
        yield f"its verdict '{entry.verdict}' is not known"
        return
    share = entry.found.share
    due = RECOVERED if share >= MOST else PARTLY if share > 0 else ""
    if (due or entry.verdict in (RECOVERED, PARTLY)) and entry.verdict != due:
        yield f"its verdict is '{entry.verdict}', but {100 * share:.0f} % were recovered"


def _of_letter(entry: Entry) -> Iterator[str]:
    """Yield that the adversary of an attack of the table knows more than the entry says."""
    letter = adversary_of(entry.attack, entry.settings)  # "" for an attack that is in no table
    if entry.adversary < letter:
        yield f"its adversary is {entry.adversary}, but that of '{entry.attack}' with these settings is {letter}"
